-- Applies one numbered stock movement of the ledger to a SKU: units in or out, the size of the
-- safety stock, and the sale's settings. The first movement (seq 1) creates the SKU.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] sku
--   ARGV[3] seq, the movement's number within the SKU (1, 2, ...)
--   ARGV[4] change of on_hand, units (may be negative)
--   ARGV[5] change of safety_stock, units (may be negative)
--   ARGV[6..10] buyer_limit units, hold ttl ms, sale starts ms, sale ends ms, fuse requests/s
--     (all '' leaves the settings)
-- Returns: flat array: now ms, code, a, then the terms of the SKU; TOO_FEW: a = available units
--@include codes
--@include shard
--@include stock

local SKU, SEQ = ARGV[2], tonumber(ARGV[3])
local DELTA, SAFETY_DELTA = tonumber(ARGV[4]), tonumber(ARGV[5])

local function create()
  skus[SKU] = { sku = SKU, counts = {}, count_writes = {}, count_writes_n = 0,
    on_hand = 0, available = 0, held = 0, unsettled = 0, safety_stock = 0,
    sold = 0, version = 0, move_seq = 0, broken = false }
  sku_order[1] = skus[SKU]
  return skus[SKU]
end

local function write_settings(key)
  redis.call('HSET', key, 'move_seq', SEQ)
  if ARGV[6] ~= '' then
    redis.call('HSET', key, 'buyer_limit', ARGV[6], 'hold_ttl_ms', ARGV[7],
      'sale_starts_ms', ARGV[8], 'sale_ends_ms', ARGV[9], 'fuse_rps', ARGV[10])
  end
  redis.call('ZADD', PREFIX .. 'skus', 0, SKU)
end

local function apply()
  local s = get_sku(SKU)
  if not s then
    if SEQ ~= 1 then
      return UNKNOWN_SKU, 0
    end
    s = create()
  end
  local key = PREFIX .. 'sku:' .. SKU
  if SEQ == s.move_seq then
    local refused = tonumber(redis.call('HGET', key, 'move_refused') or 0)
    if refused == SEQ then
      return TOO_FEW, s.available
    end
    return UNCHANGED, 0
  end
  if SEQ < s.move_seq then
    return OUT_OF_ORDER, s.move_seq
  end
  if s.broken then
    return INVARIANT_BREACH, 0
  end
  local safety = s.safety_stock + SAFETY_DELTA
  local available = s.available + DELTA - SAFETY_DELTA
  if available < 0 or safety < 0 then
    -- The verdict is kept: whoever drives this movement next must hear the same.
    if s.version > 0 then
      redis.call('HSET', key, 'move_seq', SEQ, 'move_refused', SEQ)
    end
    return TOO_FEW, s.available
  end
  s.on_hand, s.available, s.safety_stock, s.dirty = s.on_hand + DELTA, available, safety, true
  if find_breach() then
    return INVARIANT_BREACH, 0
  end
  write_skus()
  write_settings(key)
  return DONE, 0
end

local code, a = apply()
return append_skus({ NOW, code, a })
