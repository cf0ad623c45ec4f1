"""The layout of a detector state in format 2, whose bytes do not name it. This table never changes again."""

from treeline.core.state.layout import Layout

# fmt: off
LAYOUT = Layout.from_json({
    "channels": ["day", "tail", "mean10", "difference"],
    "arrays": {
        "phase": ["u1", 0], "observations": ["i8", 0], "last_at": ["i8", -1], "last_received_at": ["i8", -1],
        "seen_at": ["i8", -1, 32], "base_mean": ["f4", 0, "metrics"], "base_spread": ["f4", 1.0, "metrics"],
        "view_floor": ["f2", 0.1, 3, "metrics"], "view_mean": ["f4", 0, 3, "metrics"],
        "view_var": ["f4", 1.0, 3, "metrics"], "recent": ["f4", 0, 10, "metrics"],
        "day_mean": ["f4", 0, "metrics"], "day_var": ["f4", 0, "metrics"], "change_var": ["f4", 1.0, "metrics"],
        "tail_start": ["f2", 2.0, "metrics"], "tail_scale": ["f2", 1.0, "metrics"],
        "channel_mean": ["f4", 0, "channels"], "channel_var": ["f4", 1.0, "channels"],
        "channel_floor": ["f4", 0.2, "channels"], "channel_gated": ["u1", 0, "channels"], "habit": ["f2", 0, 96],
        "habit_recent": ["f2", 0, 8], "habit_slot": ["i8", -1], "score_slots": ["f4", None, 72],
        "score_slot": ["i8", -1], "score_mean": ["f4", 0], "score_var": ["f4", 1.0], "residual_sd": ["f4", 1.0],
        "severity": ["f4", 0], "severity_bucket": ["i8", -1], "above_p2": ["u4", 0], "above_p1": ["u4", 0],
        "incident": ["u1", 0], "opened_at": ["i8", -1], "first_above_at": ["i8", -1], "last_p2_at": ["i8", -1],
        "last_p1_at": ["i8", -1], "quiet": ["i4", 0], "resolved_at": ["i8", -1], "sequence": ["i4", 0],
    },
})
# fmt: on
