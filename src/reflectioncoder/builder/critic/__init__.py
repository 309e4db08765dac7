"""The critic: a model that rewords the diagnoses of finished samples; a text that fails a check is discarded."""

from reflectioncoder.builder.critic.counts import CriticCounts
from reflectioncoder.builder.critic.rewriting import check_critic, criticised, options_of_critic

__all__ = ["CriticCounts", "check_critic", "criticised", "options_of_critic"]
