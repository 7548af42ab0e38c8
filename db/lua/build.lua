-- Begins to build a timeline: empties it, and from now on what is fanned out is put into it.
--
-- KEYS: 1 floor hash, 2 timeline. ARGV: 1 run id where the server has none, 2 token of the builder, 3 lease in ms,
--       4 relation version that it is wanted for.
-- Returns 1, or 0 while another builder has the lease, or when one has just built it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[1]
local state = redis.call('HMGET', KEYS[1], 'run_id', 'until', 'relations')
if state[1] == run_id and ((state[2] and tonumber(state[2]) > now) or state[3] == ARGV[4]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'run_id', run_id, 'floor', 0, 'builder', ARGV[2], 'until', now + tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
