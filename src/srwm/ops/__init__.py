"""Recurrences as pure functions: the self-referential weight matrix, the delta rule and linear attention."""

from srwm.ops.fast_weights.functions import delta_rule, delta_rule_query, linear_attention, linear_attention_query
from srwm.ops.self_referential.functions import srwm, srwm_query

__all__ = ["delta_rule", "delta_rule_query", "linear_attention", "linear_attention_query", "srwm", "srwm_query"]
