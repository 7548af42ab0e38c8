-- Reads a stream from a position.
--
-- KEYS: 1 meta hash, 2 log. ARGV: 1 epoch and 2 offset that the reader has, 3 run id where the server has none,
-- 4 upper offset (0 = the top), 5 resume window in ms: an older item is as good as gone, and so is its payload.
-- Returns {epoch or false, top, {offset, event id, reference, ...}}; the list is empty unless it holds every item from
-- offset + 1 to the upper offset: never half a replay.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[3]
local state = redis.call('HMGET', KEYS[1], 'epoch', 'top', 'run_id')
local top = tonumber(state[2] or 0)
if not state[1] or state[3] ~= run_id then return {false, 0, {}} end
local from, upto = tonumber(ARGV[2]), tonumber(ARGV[4])
if upto == 0 or upto > top then upto = top end
if state[1] ~= ARGV[1] or from >= upto then return {state[1], top, {}} end
local entries = redis.call('XRANGE', KEYS[2], from + 1, upto)
if #entries ~= upto - from or now - string.match(entries[1][1], '-(%d+)') >= tonumber(ARGV[5]) then return {state[1], top, {}} end
local items = {}
for i = 1, #entries do
  local n = #items
  items[n + 1] = from + i
  items[n + 2] = entries[i][2][2]
  items[n + 3] = entries[i][2][4]
end
return {state[1], top, items}
