-- Payment references: which reservation each has bought. A reference buys one reservation only.
-- The hash 'refs' is a first answer for this shard; the ledger has the last word. An entry counts
-- while the reservation it names is still confirmed or settled with that reference.
local REFS = PREFIX .. 'refs'
local ref_owners = {} -- ref -> field, as kept or as taken by this script
local ref_writes = {} -- ref, field, ref, field ...

-- Reads the owners of n references given at ARGV[first], ARGV[first + step] ...
local function read_refs(first, step, n)
  local refs = {}
  for i = 1, n do
    refs[i] = ARGS[first + step * (i - 1)]
  end
  local owners = call('HMGET', REFS, unpack(refs))
  for i = 1, n do
    ref_owners[refs[i]] = owners[i] or nil
  end
end

-- Whether the reference has bought a reservation other than `field`.
local function is_ref_taken(ref, field)
  local owner = ref_owners[ref]
  if not owner or owner == field then
    return false
  end
  local text = fresh[owner] or call('HGET', RESERVATIONS, owner)
  local r = text and parse_record(text)
  return r and r.ref == ref and CONFIRM_RULES[r.state] == UNCHANGED
end

local function take_ref(ref, field)
  ref_owners[ref] = field
  ref_writes[#ref_writes + 1] = ref
  ref_writes[#ref_writes + 1] = field
end

-- Only after commit() returned nil.
local function write_refs()
  if #ref_writes > 0 then
    call_in_pieces('HSET', REFS, ref_writes, #ref_writes)
  end
end
