-- How units move between the terms of the invariant when a reservation changes state.
-- Everything is in memory until commit(); commit() asserts first and writes after.

-- Whether every SKU of the reservation exists, adds up, and has the reservation's units in
-- `term`, which they are about to leave (nil: they come from wherever there are some).
local function lines_are_sound(r, term)
  for _, line in ipairs(r.lines) do
    local s = get_sku(line.sku)
    if not s or s.broken or (term and s[term] < line.quantity) then
      return false
    end
  end
  return true
end

local function uncount(r)
  for _, line in ipairs(r.lines) do
    if line.counted then
      add_count(get_sku(line.sku), r.buyer, -line.quantity)
    end
  end
end

-- held -> available, for a release or an expiry.
local function give_back(r, state)
  for _, line in ipairs(r.lines) do
    local s = get_sku(line.sku)
    s.held = s.held - line.quantity
    s.available = s.available + line.quantity
    s.dirty = true
  end
  uncount(r)
  r.state = state
end

-- Expires a reservation whose deadline passed; false when a SKU of it is unsound.
local function expire(field, r)
  if not lines_are_sound(r, 'held') then
    return false
  end
  give_back(r, TRANSITIONS.expire[r.state])
  stage_record(field, format_record(r))
  stage_ended(field)
  return true
end

local function is_due(r)
  return r.deadline <= NOW and type(TRANSITIONS.expire[r.state]) == 'string'
end

-- Writes everything staged, or nothing: returns the SKU that would break the invariant.
local function commit()
  local breach = find_breach()
  if breach then
    return breach
  end
  write_skus()
  write_records()
  write_deadlines()
  return nil
end
