"""Fixtures that several of the chart's tests share."""

from cluster import custom_kinds_fixture, disks_fixture, namespace_fixture, untouched_namespace_fixture
from daemon import contents_fixture

__all__ = ["contents_fixture", "custom_kinds_fixture", "disks_fixture", "namespace_fixture", "untouched_namespace_fixture"]
