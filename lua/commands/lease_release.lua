-- Ends a term before its time.
--
-- KEYS:
--   KEYS[1] terms hash of the leases
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] lease name
--   ARGV[3] owner of the term
--   ARGV[4] token of the term
-- Returns: flat array: now ms, code: DONE, or LEASE_GONE when this very term is over
--@include codes
--@include terms

if not own_term(ARGV[2], ARGV[3], ARGV[4]) then
  return { NOW, LEASE_GONE }
end
redis.call('HDEL', TERMS, ARGV[2])
return { NOW, DONE }
