"""The critic: a model that says diagnoses of finished samples in its own words; what is not surely right is left as it was."""

from reflectioncoder.builder.critic.counts import CriticCounts
from reflectioncoder.builder.critic.rewriting import check_critic, criticised, options_of_critic

__all__ = ["CriticCounts", "check_critic", "criticised", "options_of_critic"]
