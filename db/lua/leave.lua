-- Takes a node's registrations out of streams of one bucket. The streams live on for the resume window.
--
-- KEYS: meta hashes. ARGV: 1.. the field to remove ('n:<node>' or 'w:<node>'), one per key.
for i = 1, #KEYS do redis.call('HDEL', KEYS[i], ARGV[i]) end
return #KEYS
