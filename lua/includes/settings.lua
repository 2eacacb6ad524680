-- The sale's settings of a SKU: one field of its hash, five whole numbers.
-- buyer_limit units|hold_ttl ms|sale_starts ms|sale_ends ms|fuse requests/s; 0: none.
local settings_read = {} -- text -> settings: the SKUs of a sale often have the same ones

-- nil when they cannot be read. A SKU that was given none has none.
local function settings_of(s)
  local text = s.settings or '0|0|0|0|0'
  local found = settings_read[text]
  if not found then
    local limit, ttl, starts, ends, fuse =
      string.match(text, '^(%d+)|(%d+)|(%d+)|(%d+)|(%d+)$')
    if not limit then
      return nil
    end
    found = { buyer_limit = tonumber(limit), hold_ttl_ms = tonumber(ttl),
      sale_starts_ms = tonumber(starts), sale_ends_ms = tonumber(ends),
      fuse_rps = tonumber(fuse) }
    settings_read[text] = found
  end
  return found
end
