-- Renews a node's registrations and tells where each stream stands, so that the node notices what it missed.
--
-- KEYS: meta hashes of one bucket. ARGV: 1 listen until this many ms from now, 2 resume window in ms, 3 run id where
-- the server has none, 4.. the field ('n:<node>' or 'w:<node>'), one per key.
-- Returns {epoch or false, top} per key; false = the stream is gone, or belongs to an earlier life of the store.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[3]
local reply = {}
for i = 1, #KEYS do
  local state = redis.call('HMGET', KEYS[i], 'epoch', 'top', 'run_id')
  local counts = string.sub(ARGV[3 + i], 1, 2) == 'w:'
  if counts or (state[1] and state[3] == run_id) then
    redis.call('HSET', KEYS[i], ARGV[3 + i], now + tonumber(ARGV[1]))
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
    reply[i] = {state[1], tonumber(state[2] or 0)}
  else
    reply[i] = {false, 0}
  end
end
return reply
