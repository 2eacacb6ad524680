-- The terms of each SKU a script touches: read once, moved in memory, asserted, written once.
-- Invariant per SKU: on_hand = available + held + unsettled + safety_stock, each >= 0.
local skus = {}      -- sku -> terms, or false when it does not exist
local sku_order = {} -- terms in the order of first use
local CLOSED = 'closed' -- the settings of a SKU while it is rebuilt: nothing of it moves

local function is_balanced(s)
  return s.available >= 0 and s.held >= 0 and s.unsettled >= 0 and s.safety_stock >= 0
    and s.sold >= 0 and s.on_hand == s.available + s.held + s.unsettled + s.safety_stock
end

-- Units as kept; what is not a whole number reads as -1, which no sound SKU has.
local function units_of(text)
  local units = tonumber(text)
  return units and units % 1 == 0 and units or -1
end

local function add_sku(sku, on_hand, available, held, unsettled, safety_stock, sold, version,
    settings)
  local s = { on_hand, available, held, unsettled, safety_stock, sold, -- as they are kept
    sku = sku, on_hand = on_hand or 0, available = available or 0, held = held or 0,
    unsettled = unsettled or 0, safety_stock = safety_stock or 0, sold = sold or 0,
    version = version, settings = settings, dirty = false, broken = false,
    counts = false, count_writes = false, count_writes_n = 0, gone = false,
    limit = 0, ttl = 0 } -- a limit of 0 is none; hold reads both from the settings
  s.broken = settings == CLOSED or not is_balanced(s)
  sku_order[#sku_order + 1] = s
  skus[sku] = s
  return s
end

-- Terms of a SKU, or false when it was never set up.
local function get_sku(sku)
  local s = skus[sku]
  if s ~= nil then
    return s
  end
  local v = call('HMGET', PREFIX .. 'sku:' .. sku, 'on_hand', 'available', 'held', 'unsettled',
    'safety_stock', 'sold', 'version', 'settings')
  if v[1] or v[2] or v[7] then
    return add_sku(sku, units_of(v[1]), units_of(v[2]), units_of(v[3]), units_of(v[4]),
      units_of(v[5]), units_of(v[6]), tonumber(v[7]) or 0, v[8])
  end
  skus[sku] = false
  return false
end

-- Counts as strings: Redis takes long to turn a number into one.
local count_texts = {}

local function count_text(count)
  local text = count_texts[count]
  if not text then
    text = string.format('%.0f', count)
    count_texts[count] = text
  end
  return text
end

-- Units of one buyer that count against the SKU's limit.
local function get_count(s, buyer)
  local counts = s.counts
  if not counts then
    counts = {}
    s.counts = counts
  end
  local count = counts[buyer]
  if not count then
    count = tonumber(call('HGET', PREFIX .. 'buyers:' .. s.sku, buyer) or 0) or 0
    counts[buyer] = count
  end
  return count
end

-- Keeps a count that get_count knows. Writes are kept in order, so a buyer's last count wins; a
-- count of 0 is removed at the end. text: the count as a string.
local function set_count(s, buyer, count, text)
  s.counts[buyer] = count
  if count > 0 then
    local n = s.count_writes_n
    local writes = s.count_writes or {}
    s.count_writes = writes
    writes[n + 1], writes[n + 2] = buyer, text
    s.count_writes_n = n + 2
    if s.gone then
      s.gone[buyer] = nil
    end
  else
    s.gone = s.gone or {}
    s.gone[buyer] = true
  end
end

-- The SKU whose terms no longer add up; nil when all do. Ask before the first write.
local function find_breach()
  for i = 1, #sku_order do
    local s = sku_order[i]
    if s.dirty and not is_balanced(s) then
      return s.sku
    end
  end
  return nil
end

-- Calls a command with many arguments a piece at a time: Lua's stack holds some thousands. What
-- the last call answers.
local function call_in_pieces(command, key, args, n)
  local first = 1
  while n - first >= 2000 do
    call(command, key, unpack(args, first, first + 1999))
    first = first + 2000
  end
  return call(command, key, unpack(args, first, n))
end

local function write_buyers(s)
  local key = PREFIX .. 'buyers:' .. s.sku
  if s.count_writes_n > 0 then
    call_in_pieces('HSET', key, s.count_writes, s.count_writes_n)
  end
  if s.gone then
    local gone = {}
    for buyer in pairs(s.gone) do
      gone[#gone + 1] = buyer
    end
    if #gone > 0 then
      call_in_pieces('HDEL', key, gone, #gone)
    end
  end
end

-- Terms that stayed as they are kept are not written: numbers are what costs.
local function write_skus()
  local terms = { 'on_hand', 'available', 'held', 'unsettled', 'safety_stock', 'sold' }
  local args = { 'version' }
  for i = 1, #sku_order do
    local s = sku_order[i]
    if s.dirty then
      s.version = s.version + 1
      args[2] = s.version
      local n = 2
      for j = 1, 6 do
        local units = s[terms[j]]
        if units ~= s[j] then
          args[n + 1], args[n + 2] = terms[j], units
          n = n + 2
        end
      end
      call('HSET', PREFIX .. 'sku:' .. s.sku, unpack(args, 1, n))
    end
    if s.counts then
      write_buyers(s)
    end
  end
end

-- Appends what gateways keep in memory of every SKU touched:
-- sku, on_hand, available, held, unsettled, safety_stock, sold, version.
local function append_skus(reply)
  local n = #reply
  for i = 1, #sku_order do
    local s = sku_order[i]
    reply[n + 1], reply[n + 2], reply[n + 3] = s.sku, s.on_hand, s.available
    reply[n + 4], reply[n + 5], reply[n + 6] = s.held, s.unsettled, s.safety_stock
    reply[n + 7], reply[n + 8] = s.sold, s.version
    n = n + 8
  end
  return reply
end
