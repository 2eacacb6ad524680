-- Puts the terms of one SKU right. Commands move units by differences, so what a counter is off by
-- stays what it is while the SKU is being sold: where its version has risen, the same differences are
-- applied, unless the SKU was repaired meanwhile.
-- A remainder below zero is written as it is: a SKU that does not add up sells nothing.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] lease name
--   ARGV[3] the lease's token
--   ARGV[4] sku
--   ARGV[5] version found, the number of changes
--   ARGV[6..11] found: on_hand, available, held, unsettled, safety_stock, sold, units
--   ARGV[12..17] right: the same six; on_hand = available + held + unsettled + safety_stock
--   ARGV[18] settings as kept ('' leaves them)
--   ARGV[19] number of repairs found ('' only if the version is the same)
--   ARGV[20] n, buyers (0..4096)
--   then per buyer: buyer, count found, right count, units
-- Returns: flat array: now ms, code, then the terms of the SKU if it exists
--   DONE; OUT_OF_ORDER: it was changed otherwise, or repaired, meanwhile: nothing was written
--   STALE_FENCE: a later holder of the lease was seen; ILLEGAL: the right terms do not add up
--@include codes
--@include shard
--@include stock
--@include fence

local TERMS = { 'on_hand', 'available', 'held', 'unsettled', 'safety_stock', 'sold' }
local N = tonumber(ARGV[20])
local KEY = PREFIX .. 'sku:' .. ARGV[4]

local function is_as_found(s)
  if s.version ~= tonumber(ARGV[5]) then
    return ARGV[19] ~= '' and (call('HGET', KEY, 'repairs') or '0') == ARGV[19]
  end
  for i = 1, 6 do
    if s[TERMS[i]] ~= tonumber(ARGV[5 + i]) then
      return false
    end
  end
  return true
end

local function right_terms(s)
  local right = {}
  for i = 1, 6 do
    right[TERMS[i]] = s[TERMS[i]] + tonumber(ARGV[11 + i]) - tonumber(ARGV[5 + i])
  end
  local sum = right.available + right.held + right.unsettled + right.safety_stock
  local low = math.min(right.held, right.unsettled, right.safety_stock, right.sold)
  return low >= 0 and right.on_hand == sum and right
end

local function write_counts(s)
  for i = 1, N do
    local buyer = ARGV[18 + 3 * i]
    local count = get_count(s, buyer) + tonumber(ARGV[20 + 3 * i]) - tonumber(ARGV[19 + 3 * i])
    set_count(s, buyer, count, count_text(count))
  end
end

local function write(s, right)
  for name, units in pairs(right) do
    s[name] = units
  end
  for i = 1, 6 do
    s[i] = false -- what is kept may be no number: all six are written
  end
  write_counts(s)
  s.dirty = true
  write_skus()
  call('HINCRBY', KEY, 'repairs', 1)
  if ARGV[18] ~= '' then
    call('HSET', KEY, 'settings', ARGV[18])
  end
end

local function repair(s)
  if refuse_stale(ARGV[2], tonumber(ARGV[3])) then
    return STALE_FENCE
  end
  if not s then
    return UNKNOWN_SKU
  end
  if not is_as_found(s) then
    return OUT_OF_ORDER
  end
  local right = right_terms(s)
  if not right then
    return ILLEGAL
  end
  write(s, right)
  return DONE
end

local code = repair(get_sku(ARGV[4]))
return append_skus({ NOW, code })
