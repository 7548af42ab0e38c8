-- Appends one event to the streams of up to 200 recipients of one bucket, and tells each listening node once. Before,
-- puts a post into the timelines of the same recipients, or takes it out.
--
-- KEYS: for each recipient its meta hash, which names the stream, its log, its seen hash (event id -> offset); when
--       there is something to do to timelines also its floor hash and its timeline.
-- ARGV: 1 event id, 2 reference (kind, actor, object, version: opaque here), 3 payload, 4 epoch to use where a new one
--       is due, 5 items that a log keeps, 6 resume window in ms, which no item outlives either, 7 run id to use where
--       the server has none (fakeredis), 8 publish command, 9 prefix of inbox channels (inbox:{b}:), 10 what to do to
--       timelines ('put', 'take' or ''), 11 the post's id, 12 ids that a timeline keeps.
-- Returns the number of streams that got the item now.
--
-- A stream lives only while its meta does: "is it live" is decided here, never from a list read earlier. An event id
-- that was seen changes nothing, so a second run of the same job is harmless. A run id that differs means that
-- the store may have gone back in time: a new epoch, and what the old one logged is gone.
--
-- An entry's id is its offset and the time of its append, and the meta remembers the id of the oldest one as `head`: so
-- whether the log is too long or too old is known without a look at it. An append takes AGED entries at most from a log
-- that is too old, which is shorter after each until its head is young; `read` refuses the others in the meantime.
--
-- Timelines: see feed/timelines.py. Who has none is not active, or reads one anew when it is wanted. An id below the
-- floor is not put: what stands there is known not to be complete. A timeline may outgrow its size by SLACK, so that it
-- is not trimmed with every insert; what is cut off raises the floor.
local AGED, SLACK = 8, 32
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[7]
local id, reference, keep, window = ARGV[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local stamp = '-' .. now
local lines, appended = {}, 0
local act, post, score, keep_ids = ARGV[10], ARGV[11], '-' .. ARGV[11], tonumber(ARGV[12])
local stride = act == '' and 3 or 5

-- Trims a log whose next item will be `top`, looking at `count` entries, and returns the id of its oldest one: of one
-- that is older still where all of them went.
local function trim(log, seen, top, count)
  local entries = redis.call('XRANGE', log, '-', '+', 'COUNT', count)
  for e = 1, #entries do
    local offset, at = string.match(entries[e][1], '(%d+)-(%d+)')
    if top - offset < keep and now - at < window then return entries[e][1] end
    redis.call('HDEL', seen, entries[e][2][2])
    redis.call('XDEL', log, entries[e][1])
  end
  return #entries == count and entries[count][1] or top .. stamp
end

local function put(floor, timeline)
  local state = redis.call('HMGET', floor, 'run_id', 'floor')
  if state[1] ~= run_id then return end
  if act == 'take' then redis.call('ZREM', timeline, post) return end
  if tonumber(post) < tonumber(state[2]) then return end
  redis.call('ZADD', timeline, score, post)
  local size = redis.call('ZCARD', timeline)
  if size == 1 then redis.call('PEXPIRE', timeline, redis.call('PTTL', floor)) end
  if size > keep_ids + SLACK then
    redis.call('ZREMRANGEBYRANK', timeline, keep_ids, -1)
    redis.call('HSET', floor, 'floor', redis.call('ZRANGE', timeline, -1, -1)[1])
  end
end

for i = 1, #KEYS / stride do
  local at = stride * (i - 1)
  local meta, log, seen = KEYS[at + 1], KEYS[at + 2], KEYS[at + 3]
  if act ~= '' then put(KEYS[at + 4], KEYS[at + 5]) end
  local epoch, top, known, head, nodes = false, 0, '', false, {}
  local fields = redis.call('HGETALL', meta)
  for f = 1, #fields, 2 do
    local field, value = fields[f], fields[f + 1]
    if field == 'epoch' then epoch = value
    elseif field == 'top' then top = tonumber(value)
    elseif field == 'run_id' then known = value
    elseif field == 'head' then head = value
    elseif string.sub(field, 1, 2) == 'n:' then
      if tonumber(value) > now then nodes[#nodes + 1] = string.sub(field, 3) else redis.call('HDEL', meta, field) end
    end
  end
  if epoch then
    if known ~= run_id then
      epoch, top, head = ARGV[4], 0, false
      redis.call('DEL', log, seen)
      redis.call('HSET', meta, 'epoch', epoch, 'top', top, 'run_id', run_id)
    end
    if redis.call('HSETNX', seen, id, top + 1) == 1 then
      top = top + 1
      local id_now, oldest = top .. stamp, head
      if head then
        local offset, at = string.match(head, '(%d+)-(%d+)')
        local aged = now - at >= window
        if aged or top - offset >= keep then oldest = trim(log, seen, top, aged and AGED or 2) end
      else
        oldest = id_now
      end
      redis.call('XADD', log, id_now, 'i', id, 'r', reference)
      redis.call('PEXPIRE', log, window)
      redis.call('PEXPIRE', seen, window)
      if oldest == head then
        redis.call('HSET', meta, 'top', top)
      else
        redis.call('HSET', meta, 'top', top, 'head', oldest)
      end
      appended = appended + 1
      local stream = string.match(meta, '}:(.*)')
      for _, node in ipairs(nodes) do
        local list = lines[node]
        if not list then list = {}; lines[node] = list end
        list[#list + 1] = stream .. ' ' .. epoch .. ' ' .. top
      end
    end
  end
end

for node, list in pairs(lines) do
  redis.call(ARGV[8], ARGV[9] .. node, 'item\n' .. id .. '\n' .. reference .. '\n' .. table.concat(list, '\n') .. '\n\n' .. ARGV[3])
end
return appended
