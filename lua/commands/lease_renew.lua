-- Prolongs a term that has not ended; a later end is never made earlier.
--
-- KEYS:
--   KEYS[1] terms hash of the leases
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] lease name
--   ARGV[3] owner of the term
--   ARGV[4] token of the term
--   ARGV[5] how long it is to last from now, ms
-- Returns: flat array: now ms, code: DONE, or LEASE_GONE when this very term is over
--@include codes
--@include terms

local NAME, OWNER, TOKEN = ARGV[2], ARGV[3], ARGV[4]
local term = own_term(NAME, OWNER, TOKEN)
if not term then
  return { NOW, LEASE_GONE }
end
write_term(NAME, OWNER, TOKEN, math.max(term.ends, NOW + tonumber(ARGV[5])))
return { NOW, DONE }
