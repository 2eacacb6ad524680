"""What is said about one field or parameter of a request, in English and Chinese."""

from typing import Final

# What is wrong with one field, by rule: English, Chinese.
RULE_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "required": ("The field `{name}` is missing.", "缺少字段 `{name}`。"),
    "unknown": (
        "There is no field `{name}` here; known are: {known}.",
        "此处没有字段 `{name}`；可用字段：{known}。",
    ),
    "required-parameter": ("The parameter `{name}` is missing.", "缺少参数 `{name}`。"),
    "unknown-parameter": (
        "There is no parameter `{name}` here; known are: {known}.",
        "此处没有参数 `{name}`；可用参数：{known}。",
    ),
    "duplicate": (
        "The name `{name}` appears more than once; it is not clear which one is meant.",
        "名称 `{name}` 出现多次，无法确定以哪个为准。",
    ),
    "null": (
        "null is not accepted; leave the field out instead.",
        "不接受 null；如不需要请省略该字段。",
    ),
    "type": ("Must be {expected}, but is {got}.", "应为{expected}，实际为{got}。"),
    "whole": (
        "Must be a whole number in plain digits, without fraction or exponent.",
        "应为整数，只用数字书写，不带小数或指数。",
    ),
    "range": ("Must be between {low} and {high}.", "应在 {low} 与 {high} 之间。"),
    "size": (
        "Must have between {low} and {high} entries, but has {count}.",
        "应有 {low} 至 {high} 项，实际为 {count} 项。",
    ),
    "choice": ("Must be one of: {choices}.", "应为以下之一：{choices}。"),
    "time": (
        "Must be an RFC 3339 time with `Z` or an offset, such as 2026-11-11T10:00:00Z.",
        "应为带 `Z` 或时区偏移的 RFC 3339 时间，例如 2026-11-11T10:00:00Z。",
    ),
    "time-range": (
        "Must be a time between the years 2000 and 2999.",
        "时间应在 2000 年至 2999 年之间。",
    ),
    "sku": (
        "Must be 1 to 64 characters: letters, digits and `. _ : -`, beginning with a letter or "
        "digit.",
        "应为 1 至 64 个字符：字母、数字及 `. _ : -`，以字母或数字开头。",
    ),
    "buyer": (
        "Must be 1 to 128 characters: letters, digits and `. _ : @ + = / -`, beginning with a "
        "letter or digit.",
        "应为 1 至 128 个字符：字母、数字及 `. _ : @ + = / -`，以字母或数字开头。",
    ),
    "channel": (
        "Must be 1 to 32 characters: letters, digits and `. _ -`, beginning with a letter or "
        "digit.",
        "应为 1 至 32 个字符：字母、数字及 `. _ -`，以字母或数字开头。",
    ),
    "payment-ref": (
        "Must be 1 to 128 printable ASCII characters without spaces and `|`.",
        "应为 1 至 128 个可打印 ASCII 字符，不含空格和 `|`。",
    ),
    "key": (
        "Must be 1 to 255 printable ASCII characters, without a space at either end.",
        "应为 1 至 255 个可打印 ASCII 字符，首尾不含空格。",
    ),
    "receipt": (
        "Must be 1 to 8192 printable ASCII characters without spaces.",
        "应为 1 至 8192 个可打印 ASCII 字符，不含空格。",
    ),
    "receipt-not-ours": (
        "Is not a receipt of this deployment, or it was changed.",
        "不是本系统签发的凭证，或已被改动。",
    ),
    "receipt-of-another": (
        "Is the receipt of another reservation.",
        "是另一个预订的凭证。",
    ),
    "reason": (
        "Must be 1 to 200 characters on one line, and not blank.",
        "应为 1 至 200 个字符，单行且不能为空白。",
    ),
    "cursor": (
        "Must be the `next` of an earlier page, unchanged.",
        "应原样使用前一页返回的 `next`。",
    ),
    "safety-above-on-hand": (
        "Must not exceed on_hand ({on_hand}).",
        "不得超过 on_hand（{on_hand}）。",
    ),
    "ends-before-starts": ("Must be after sale_starts_at.", "应晚于 sale_starts_at。"),
    "delta-zero": ("Must not be 0: there is nothing to adjust.", "不能为 0:没有可调整的数量。"),
    "no-body": ("This call takes no fields.", "此调用不接受任何字段。"),
    "repeated": ("The parameter may be given once only.", "该参数只能出现一次。"),
    "empty-body": ("The body is empty; JSON is expected.", "请求体为空，应为 JSON。"),
    "encoding": ("Byte {byte} is not valid UTF-8.", "第 {byte} 字节不是有效的 UTF-8。"),
    "surrogate": (
        "A \\u escape is half of a surrogate pair, which is no character.",
        "\\u 转义只有代理对的一半，不是有效字符。",
    ),
    "syntax": (
        "{message} at byte {byte} (line {line}, column {column}).",
        "JSON 语法错误：第 {byte} 字节（第 {line} 行第 {column} 列）。",
    ),
    "depth": ("The JSON is nested too deeply.", "JSON 嵌套过深。"),
    "other": ("{message}.", "不符合要求：{message}。"),
}

# How many field errors follow the first one, in the summary.
MORE_TEXTS: Final[tuple[str, str]] = (
    "{first} ({more} more in `errors`.)",
    "{first}（另有 {more} 项）",
)

# JSON types and the like, as the `type` rule names them: English, Chinese.
KIND_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "object": ("an object", "对象"),
    "array": ("an array", "数组"),
    "string": ("a string", "字符串"),
    "integer": ("a whole number", "整数"),
    "number": ("a number", "数字"),
    "boolean": ("true or false", "布尔值"),
    "null": ("null", "null"),
}
