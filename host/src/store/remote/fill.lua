-- Pours into a leaky bucket: nginx's arithmetic, by the clock of the server.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local amount, leak, capacity = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level = 0
local present = redis.call('GET', KEYS[1])
if present then
  local before, last = string.match(present, '^(%d+) (%d+)$')
  if not before then return redis.error_reply('WRONGTYPE it is no bucket') end
  local ms = now - tonumber(last)
  if ms < -60000 then -- another clock
    ms = 1
  elseif ms < 0 then
    ms, now = 0, tonumber(last)
  end
  level = math.max(0, tonumber(before) + amount - math.floor(leak * ms / 1000))
  if level > capacity then return string.format('%.0f', level) end
end
local bucket = string.format('%.0f %.0f', level, now)
if leak > 0 then
  local lasts = math.max(1, math.ceil((level + amount) * 1000 / leak))
  redis.call('SET', KEYS[1], bucket, 'PX', string.format('%.0f', lasts))
else
  redis.call('SET', KEYS[1], bucket)
end
return string.format('%.0f', level)
