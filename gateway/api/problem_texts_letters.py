"""What problems say about dead letters, in English and Chinese."""

from typing import Final

from gateway.api.language import EN, ZH, Text

LETTERS: Final[dict[str, dict[str, Text]]] = {
    "unknown-dead-letter": {
        EN: Text(
            "There is no such dead letter",
            "No dead letter has this id. GET /v1/admin/dead-letters lists them all.",
            "Dead letters are kept for good, closed ones too. Use the id as the listing gave it.",
        ),
        ZH: Text(
            "没有该死信",
            "没有该编号的死信。GET /v1/admin/dead-letters 可列出全部死信。",
            "死信（包括已关闭的）会一直保留。请使用列表中给出的编号。",
        ),
    },
    "dead-letter-not-waiting": {
        EN: Text(
            "The dead letter does not wait for a decision",
            "The dead letter is `{letter_state}`; only waiting ones can be retried or dismissed.",
            "A letter that is being retried becomes `resolved`, or `waiting` again if it fails "
            "once more. `resolved` and `dismissed` are final.",
        ),
        ZH: Text(
            "该死信不在等待处理",
            "该死信的状态为 `{letter_state}`；只有 waiting 状态才能重试或关闭。",
            "重试中的死信会变为 resolved，再次失败则回到 waiting。"
            "resolved 与 dismissed 为最终状态。",
        ),
    },
    "dead-letter-not-retryable": {
        EN: Text(
            "There is nothing to be retried",
            "No confirmed reservation belongs to this dead letter, so nothing was put on its way. "
            "Dismiss the letter once its cause is understood.",
            "A retry takes the reservation as the store has it now. An entry that names none, or "
            "one that is no longer confirmed, cannot be settled by another try.",
        ),
        ZH: Text(
            "没有可重试的内容",
            "该死信没有对应的已确认预订，因此未重新提交。查明原因后请关闭该死信。",
            "重试以存储中现有的预订为准。未指明预订、或预订不再处于已确认状态时，再试也无法结算。",
        ),
    },
}
