"""Making a container's process out of a plan, and keeping it: plan, child, keeper, launcher, supervisor."""
