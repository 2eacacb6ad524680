-- Replaces records by what the ledger says of them, and puts back reminders and outbox entries
-- that are missing. A record that has changed since it was read is left alone.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] token that the SKUs of replaced records are closed with
--   ARGV[3] n, items in the batch (1..512)
--   then per item: field, record as it was read, record as it shall be (the same: only what
--     follows is done), 'outbox', 'ended', or the deadline of which it is to be reminded, ms
-- Returns: flat array: now ms, n times code
--   DONE; OUT_OF_ORDER: the record has changed, or a SKU of it is not closed with the token
--@include codes
--@include shard
--@include stock
--@include writes
--@include records

local OUTBOX, TOKEN = KEYS[2], ARGV[2]
local outbox_adds = {}
local closed = {} -- sku -> whether it is closed with our token

local function is_closed(sku)
  if closed[sku] == nil then
    local settings, closed_by = unpack(call('HMGET', PREFIX .. 'sku:' .. sku, 'settings',
      'closed_by'))
    closed[sku] = settings == CLOSED and closed_by == TOKEN
  end
  return closed[sku]
end

local function may_replace(text)
  local r = parse_record(text)
  if not r then
    return false
  end
  for i = 1, r.n, 4 do
    if not is_closed(r[i]) then
      return false
    end
  end
  return true
end

local function mend(field, old, new, where)
  local kept = fresh[field] or call('HGET', RESERVATIONS, field)
  if kept ~= old or (new ~= old and not may_replace(new)) then
    return OUT_OF_ORDER
  end
  if new ~= old then
    stage_record(field, new)
  end
  if where == 'outbox' then
    outbox_adds[#outbox_adds + 1] = field .. '|' .. new
  elseif where == 'ended' then
    add_field(ended_adds, field)
  else
    add_field(due_list(tonumber(where)), field)
  end
  return DONE
end

local reply = { NOW }
for i = 1, tonumber(ARGV[3]) do
  local at = 4 * i
  reply[i + 1] = mend(ARGS[at], ARGS[at + 1], ARGS[at + 2], ARGS[at + 3])
end
commit() -- moves no units: nothing to be asserted
for i = 1, #outbox_adds do
  call('XADD', OUTBOX, '*', 'r', outbox_adds[i])
end
return reply
