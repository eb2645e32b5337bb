"""Drains a plan: workers that fetch under the quota, one committer that stores."""
