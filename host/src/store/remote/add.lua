-- Adds to a counter, which expires so long after it began. The sum as text: Lua's numbers have 53 bits.
local ttl = tonumber(ARGV[2])
if ttl > 0 and redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SET', KEYS[1], '0', 'PX', ARGV[2])
end
redis.call('INCRBY', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])
