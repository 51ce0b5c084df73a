local tenant, id = unpack(ARGV, 4, 5)
local found = {}
for place = 6, #ARGV do
  table.insert(found, redis.call('HGET', answers_key(tenant, id), ARGV[place]) or '')
end
return found
