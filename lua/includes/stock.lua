-- The terms of each SKU a script touches: read once, moved in memory, asserted, written once.
-- Invariant per SKU: on_hand = available + held + unsettled + safety_stock, each >= 0.
local SKU_FIELDS = { 'on_hand', 'available', 'held', 'unsettled', 'safety_stock', 'sold',
  'version', 'buyer_limit', 'hold_ttl_ms', 'sale_starts_ms', 'sale_ends_ms', 'move_seq',
  'fuse_rps' }

local skus = {}      -- sku -> terms, or false when it does not exist
local sku_order = {} -- terms in the order of first use

local function is_balanced(s)
  return s.available >= 0 and s.held >= 0 and s.unsettled >= 0 and s.safety_stock >= 0
    and s.sold >= 0 and s.on_hand == s.available + s.held + s.unsettled + s.safety_stock
end

-- Units as kept; what is not a whole number reads as -1, which no sound SKU has.
local function units_of(text)
  local units = tonumber(text)
  return units and units % 1 == 0 and units or -1
end

local function read_sku(sku)
  local v = redis.call('HMGET', PREFIX .. 'sku:' .. sku, unpack(SKU_FIELDS))
  if not (v[1] or v[2] or v[12]) then
    skus[sku] = false
    return false
  end
  local s = { sku = sku, dirty = false, counts = {}, count_writes = {}, count_writes_n = 0,
    on_hand = units_of(v[1]), available = units_of(v[2]), held = units_of(v[3]),
    unsettled = units_of(v[4]), safety_stock = units_of(v[5]), sold = units_of(v[6]),
    version = tonumber(v[7]) or 0, buyer_limit = tonumber(v[8]) or 0, hold_ttl_ms = tonumber(v[9]) or 0,
    sale_starts_ms = tonumber(v[10]) or 0, sale_ends_ms = tonumber(v[11]) or 0,
    move_seq = tonumber(v[12]) or 0, fuse_rps = tonumber(v[13]) or 0 }
  s.broken = not is_balanced(s)
  s.mark = s.buyer_limit > 0 and '*1' or '' -- of record lines that count against the limit
  skus[sku] = s
  sku_order[#sku_order + 1] = s
  return s
end

-- Terms of a SKU, or false when it was never set up.
local function get_sku(sku)
  local s = skus[sku]
  if s == nil then
    return read_sku(sku)
  end
  return s
end

-- Units of one buyer that count against the SKU's limit.
local function get_count(s, buyer)
  local count = s.counts[buyer]
  if not count then
    count = tonumber(redis.call('HGET', PREFIX .. 'buyers:' .. s.sku, buyer) or 0) or 0
    s.counts[buyer] = count
  end
  return count
end

-- Counts as strings: Redis takes long to turn a number into one.
local COUNT_TEXT = setmetatable({}, { __index = function(texts, count)
  local text = string.format('%.0f', count)
  texts[count] = text
  return text
end })

-- Writes are kept in order, so a buyer's last count wins; a count of 0 is removed at the end.
local function set_count(s, buyer, count)
  s.counts[buyer] = count
  if count > 0 then
    local n = s.count_writes_n
    s.count_writes[n + 1], s.count_writes[n + 2] = buyer, COUNT_TEXT[count]
    s.count_writes_n = n + 2
    if s.gone then
      s.gone[buyer] = nil
    end
  else
    s.gone = s.gone or {}
    s.gone[buyer] = true
  end
end

local function add_count(s, buyer, delta)
  set_count(s, buyer, get_count(s, buyer) + delta)
end

-- The SKUs whose terms no longer add up; nil when all do. Ask before the first write.
local function find_breach()
  for i = 1, #sku_order do
    local s = sku_order[i]
    if s.dirty and not is_balanced(s) then
      return s.sku
    end
  end
  return nil
end

-- Calls a command with many arguments a piece at a time: Lua's stack holds some thousands.
local function call_in_pieces(command, key, args, n)
  for first = 1, n, 2000 do
    redis.call(command, key, unpack(args, first, math.min(first + 1999, n)))
  end
end

local function write_buyers(s)
  local key = PREFIX .. 'buyers:' .. s.sku
  call_in_pieces('HSET', key, s.count_writes, s.count_writes_n)
  if s.gone then
    local gone = {}
    for buyer in pairs(s.gone) do
      gone[#gone + 1] = buyer
    end
    call_in_pieces('HDEL', key, gone, #gone)
  end
end

local function write_skus()
  for i = 1, #sku_order do
    local s = sku_order[i]
    if s.dirty then
      s.version = s.version + 1
      redis.call('HSET', PREFIX .. 'sku:' .. s.sku, 'on_hand', s.on_hand,
        'available', s.available, 'held', s.held, 'unsettled', s.unsettled,
        'safety_stock', s.safety_stock, 'sold', s.sold, 'version', s.version)
    end
    write_buyers(s)
  end
end

-- Appends what gateways keep in memory of every SKU touched:
-- sku, on_hand, available, held, unsettled, safety_stock, sold, version.
local function append_skus(reply)
  for i = 1, #sku_order do
    local s = sku_order[i]
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = s.sku, s.on_hand, s.available
    reply[n + 4], reply[n + 5], reply[n + 6] = s.held, s.unsettled, s.safety_stock
    reply[n + 7], reply[n + 8] = s.sold, s.version
  end
  return reply
end
