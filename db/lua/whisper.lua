-- Tells the nodes that listen to streams of one bucket something that is never logged: counts, typing.
--
-- KEYS: meta hashes. ARGV: 1 publish command, 2 prefix of inbox channels (inbox:{b}:), 3 'n:', 'w:' or '' (whom: those
-- who follow items, those who want counts, both), 4 message.
-- Returns the number of nodes told.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes, told = {}, 0
for i = 1, #KEYS do
  local fields = redis.call('HGETALL', KEYS[i])
  for f = 1, #fields, 2 do
    local kind = string.sub(fields[f], 1, 2)
    if (kind == 'n:' or kind == 'w:') and (ARGV[3] == '' or ARGV[3] == kind) and tonumber(fields[f + 1]) > now then
      nodes[string.sub(fields[f], 3)] = true
    end
  end
end
for node in pairs(nodes) do
  redis.call(ARGV[1], ARGV[2] .. node, ARGV[4])
  told = told + 1
end
return told
