-- Registers a node as a listener of one stream and returns where the stream stands, creating it when absent.
--
-- KEYS: 1 meta hash, 2 log, 3 seen hash.
-- ARGV: 1 field to register ('n:<node>' for items, 'w:<node>' for counts, '' for nobody), 2 listen until this many ms
--       from now, 3 epoch to use where a new one is due, 4 resume window in ms, 5 run id where the server has none.
-- Returns {epoch, top}. With a 'w:' field nothing is created but the registration, and {false, 0} is returned.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[5]
local meta = KEYS[1]
local epoch, top = false, 0

if string.sub(ARGV[1], 1, 2) ~= 'w:' then
  local state = redis.call('HMGET', meta, 'epoch', 'top', 'run_id')
  epoch, top = state[1], tonumber(state[2] or 0)
  if not epoch or state[3] ~= run_id then
    epoch, top = ARGV[3], 0
    redis.call('DEL', KEYS[2], KEYS[3])
    redis.call('HDEL', meta, 'head')
    redis.call('HSET', meta, 'epoch', epoch, 'top', top, 'run_id', run_id)
  end
end
if ARGV[1] ~= '' then redis.call('HSET', meta, ARGV[1], now + tonumber(ARGV[2])) end
redis.call('PEXPIRE', meta, ARGV[4])
return {epoch, top}
