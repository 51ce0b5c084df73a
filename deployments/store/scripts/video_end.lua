local tenant, id = unpack(ARGV, 4, 5)
if not is_there(tenant, id) then return 0 end
return end_session(tenant, id)
