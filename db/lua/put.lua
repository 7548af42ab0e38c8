-- Puts a post into one timeline, if that is alive and complete down to it. The fan-out of the post trims.
--
-- KEYS: 1 floor hash, 2 timeline. ARGV: 1 run id where the server has none, 2 the post's id.
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[1]
local state = redis.call('HMGET', KEYS[1], 'run_id', 'floor')
if state[1] ~= run_id or tonumber(ARGV[2]) < tonumber(state[2]) then return end
redis.call('ZADD', KEYS[2], '-' .. ARGV[2], ARGV[2])
if redis.call('ZCARD', KEYS[2]) == 1 then redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1])) end
