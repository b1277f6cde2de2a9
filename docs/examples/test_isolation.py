"""No kernel thread of a new kernel leaves nullfs: KERNEL=bzImage INITRD=initrd.img pytest test_isolation.py"""

import os

from explorer import audit, query


def test_no_kernel_thread_leaves_nullfs(boot_kernel):
    guest = boot_kernel(
        os.environ["KERNEL"], initrd=os.environ["INITRD"], append=os.environ.get("APPEND", "")
    )
    snapshot = guest.run_until(os.environ.get("UNTIL", "pid:1 comm:init"))

    assert snapshot.kernel.generation == "isolated"
    # devtmpfs serves another root by design: its thread leaves nullfs for that of its own namespace.
    assert query(snapshot, "kind:kernel not placement:nullfs not comm:kdevtmpfs") == []
    assert [finding.title for finding in audit(snapshot).findings if finding.severity == "critical"] == []
