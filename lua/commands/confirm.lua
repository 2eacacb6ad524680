-- Confirms paid reservations and appends each to the outbox, in one step.
-- Late payment: an expired reservation is honoured from available, then from safety_stock,
-- all its lines or none. A late payment that was refused once stays refused.
-- A payment reference buys one reservation: another one is answered PAYMENT_REF_USED.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] n, items in the batch (1..4096)
--   then per item: field, created ms, payment reference
-- Returns: flat array: now ms, n times (code, record or ''), then the terms of SKUs touched
--   MORE_DUE: more is due, or asked for, than one call does; ask again
--@include codes
--@rules confirm expire
--@include shard
--@include stock
--@include writes
--@include records
--@include moves
--@include refs
--@include act

local outbox_adds = {}
local sweep_more, trim -- made when units are short

local function load_sweep()
--@include sweep
  return function() return sweep(64, SWEEP_MAX) end, trim_swept
end

-- Whether units are left for a late payment; nil: more holds may be due than one script expires.
local function can_honour(r)
  for i = 1, r.n, 4 do
    local s, quantity = skus[r[i]], r[i + 1]
    while s.available < quantity and s.held > 0 do
      if not sweep_more then
        sweep_more, trim = load_sweep()
      end
      local more = sweep_more()
      if more == nil then
        return nil
      elseif not more then
        break
      end
    end
    if s.available + s.safety_stock < quantity then
      return false
    end
  end
  return true
end

-- Takes the units of a late payment; the record's lines as they are now, if that changed them.
local function take_late(r)
  local lines
  move_units(r, 'available', 'unsettled', 1)
  for i = 1, r.n, 4 do
    local s = skus[r[i]]
    if s.available < 0 then
      r[i + 3] = -s.available
      s.available, s.safety_stock = 0, s.safety_stock - r[i + 3]
      lines = true
    end
  end
  return lines and format_lines(r)
end

-- nil when the late payment is honoured. A refusal is final: the shop refunds, so units that
-- return later are not for this reservation; its record keeps the reference as a mark of it.
local function refuse_late(field, r, ref)
  if r.ref ~= '' then
    return IS_EXPIRED
  end
  local honoured = can_honour(r)
  if honoured == nil then
    return MORE_DUE
  end
  if not honoured then
    stage_record(field, with_payment(r, 'x', ref))
    return IS_EXPIRED
  end
  return nil
end

local function confirm(field, r, ref, rule)
  if is_ref_taken(ref, field) then
    return PAYMENT_REF_USED -- whatever has become of this one, the money has bought the other
  end
  if rule == UNCHANGED then
    return r.ref == ref and UNCHANGED or PAYMENT_REF_CONFLICT
  end
  if type(rule) == 'number' then
    return rule
  end
  local late = r.state == 'x'
  if not lines_are_sound(r, not late and 'held') then
    return unsound_code(r)
  end
  local lines
  if late then
    local refusal = refuse_late(field, r, ref)
    if refusal then
      return refusal
    end
    lines = take_late(r)
  else
    move_units(r, 'held', 'unsettled', 0)
  end
  local text = with_payment(r, rule, ref, lines)
  stage_record(field, text)
  take_ref(ref, field)
  outbox_adds[#outbox_adds + 1] = field .. '|' .. text
  return DONE
end

read_refs(5, 3, tonumber(ARGV[2])) -- ARGV[5..n], every third: the references
local reply = act(CONFIRM_RULES, confirm)
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
if trim then
  trim()
end
write_refs()
for i = 1, #outbox_adds do
  call('XADD', KEYS[2], '*', 'r', outbox_adds[i])
end
return append_skus(reply)
