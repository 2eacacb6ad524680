-- Which move is legal from which state: a letter is the next state, a number the refusal.
-- Letters: h held, p paying, c confirmed, s settled, j rejected, r released, x expired.
-- gateway/core/transitions.py holds the same table; a test keeps the two equal.
local TRANSITIONS = {
  pay = { h = 'p', p = UNCHANGED, c = IS_CONFIRMED, s = IS_CONFIRMED, j = IS_REJECTED,
          r = IS_RELEASED, x = IS_EXPIRED },
  confirm = { h = 'c', p = 'c', c = UNCHANGED, s = UNCHANGED, j = IS_REJECTED,
              r = IS_RELEASED, x = 'c' },
  release = { h = 'r', p = 'r', c = IS_CONFIRMED, s = IS_CONFIRMED, j = IS_REJECTED,
              r = UNCHANGED, x = IS_EXPIRED },
  extend = { h = 'h', p = 'p', c = IS_CONFIRMED, s = IS_CONFIRMED, j = IS_REJECTED,
             r = IS_RELEASED, x = IS_EXPIRED },
  expire = { h = 'x', p = 'x', c = IS_CONFIRMED, s = IS_CONFIRMED, j = IS_REJECTED,
             r = IS_RELEASED, x = UNCHANGED },
  settle = { h = ILLEGAL, p = ILLEGAL, c = 's', s = UNCHANGED, j = ILLEGAL, r = ILLEGAL,
             x = ILLEGAL },
  reject = { h = ILLEGAL, p = ILLEGAL, c = 'j', s = ILLEGAL, j = UNCHANGED, r = ILLEGAL,
             x = ILLEGAL },
}
