-- The members with the highest weighted sums over many sorted sets, highest first.
--
-- KEYS: 1 a set to work in, 2.. the sets. ARGV: 1 how many members, then the weight of each set.
-- The working set is gone before anybody else has their turn.
local words = { 'ZUNIONSTORE', KEYS[1], #KEYS - 1 }
for i = 2, #KEYS do words[#words + 1] = KEYS[i] end
words[#words + 1] = 'WEIGHTS'
for i = 2, #ARGV do words[#words + 1] = ARGV[i] end
redis.call(unpack(words))
local found = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1)
redis.call('DEL', KEYS[1])
return found
