-- Reads a page of a timeline; when its owner does, it lives on.
--
-- KEYS: 1 floor hash, 2 timeline. ARGV: 1 run id where the server has none, 2 ids below this one, 3 how many, 4 life in
--       ms, 0 = as it is.
-- Returns {relation version that it was built for, floor, {id, ...} descending}, while it is cold {'', 0, {why}}.
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[1]
local state = redis.call('HMGET', KEYS[1], 'run_id', 'relations', 'floor')
if not state[1] then return {'', 0, {'absent'}} end
if state[1] ~= run_id then return {'', 0, {'another life'}} end
if not state[2] then return {'', 0, {'being built'}} end
if ARGV[4] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '(-' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])
return {state[2], tonumber(state[3]), ids}
