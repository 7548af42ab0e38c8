-- Tells of which streams of one bucket somebody listens now.
--
-- KEYS: meta hashes. Returns 1 or 0 per key.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = {}
for i = 1, #KEYS do
  reply[i] = 0
  local fields = redis.call('HGETALL', KEYS[i])
  for f = 1, #fields, 2 do
    if string.sub(fields[f], 1, 2) == 'n:' and tonumber(fields[f + 1]) > now then reply[i] = 1 end
  end
end
return reply
