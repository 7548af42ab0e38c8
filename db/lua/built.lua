-- Ends the building of a timeline: adds what was read to what was fanned out meanwhile, and says what is complete.
--
-- KEYS: 1 floor hash, 2 timeline. ARGV: 1 run id where the server has none, 2 token of the builder, 3 relation version,
--       4 floor of what was read, 5 life in ms, 6 ids to keep, 7.. ids.
-- Returns 1, or 0 when the builder's lease has gone to another one, or the store has lost it.
local ok, info = pcall(redis.call, 'INFO', 'server')
local run_id = (ok and type(info) == 'string' and string.match(info, 'run_id:(%w+)')) or ARGV[1]
local state = redis.call('HMGET', KEYS[1], 'run_id', 'builder', 'floor')
if state[1] ~= run_id or state[2] ~= ARGV[2] then return 0 end
local floor = math.max(tonumber(state[3]), tonumber(ARGV[4]))
local members, unpack = {}, unpack or table.unpack
for i = 7, #ARGV do
  members[#members + 1] = '-' .. ARGV[i]
  members[#members + 1] = ARGV[i]
  if #members == 400 or i == #ARGV then
    redis.call('ZADD', KEYS[2], unpack(members))
    members = {}
  end
end
if redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[6]) then
  redis.call('ZREMRANGEBYRANK', KEYS[2], ARGV[6], -1)
  floor = math.max(floor, tonumber(redis.call('ZRANGE', KEYS[2], -1, -1)[1]))
end
if floor > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[2], '(-' .. string.format('%.0f', floor), '+inf') end
redis.call('HDEL', KEYS[1], 'builder', 'until')
redis.call('HSET', KEYS[1], 'relations', ARGV[3], 'floor', string.format('%.0f', floor))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
