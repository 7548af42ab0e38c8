-- Writes scores into a sorted set beside, and puts it into place with the last part.
--
-- KEYS: 1 the set beside, 2 its place. ARGV: 1 life in ms, 2 '1' with the last part, then score and member in turn.
-- Nothing ever stands without an expiry, and the place holds the old set or the whole new one.
if #ARGV > 2 then
  redis.call('ZADD', KEYS[1], unpack(ARGV, 3))
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
if ARGV[2] == '1' then
  if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('RENAME', KEYS[1], KEYS[2])
  else
    redis.call('DEL', KEYS[2])
  end
end
return 1
