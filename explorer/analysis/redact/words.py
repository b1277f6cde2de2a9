"""The words that redaction leaves as they are: the kernel's own, in the names of its threads, queues and filesystems.

A fixed list. A word of a user's that is on it (a directory called ``data`` is not, one called ``tmp`` is) says nothing
about the user; a word of the kernel's that is missing from it is replaced, which costs nothing but its looks.
"""

from __future__ import annotations

__all__ = ("KEPT_WORDS", "NUMBERED_WORDS", "SETTING_NAMES")

_THREADS = """
acpi addrconf aerdrv async ata audit auth bat bh bio blkcg bonding bpf btrfs cache cachefiles cancel card ccp
ceph cfg cfg80211 cgroup cgwb charger cifs cifsd cifsiod cleaner cleanup close cmtp cold commit compact
complete conv cpuhp cpuset crypt cryptd crypto cxl dax deferwq delalloc delay delayed delete destroy dev
devfreq device devtmpfs dfl diag dio disable discard dm dma drbd drm edac efficient end endio eofblocks erofs
events exit exp ext4 fail failfs fence filter firmware fixup flush flushwq frag free freezable fscache fscrypt
fsnotify fsverity fuse gc gcwq gfs2 glock gp hci highpri hotplug hub hwrng i915 idle ima inet inject inline
inode inodegc input io iommu iou ipmi ipv6 irq iscsi iscsit isolated jbd2 jfs kacpi kacpid kauditd kbloc
kblockd kcompactd kcopyd kcryptd kdamond kdevtmpfs kec khubd khugepaged khungtaskd kinte kintegrityd kmmpd
kmpath kprobe krxrpcd ksm ksmbd ksmbdwork ksmd ksoftirqd kstrp kswapd kthr kthre kthread kthreadd kthro
kthrotld kvfre kvfree kvm kworker kxfs l2 lat link lockd log long loop lru lvm max md memcg memory meta
migrate migration mld mlx4 mlx5 mm mmc mpath mpt multipathd napi nbd net netlink netns nfit nfs nfsd nfsiod
nfsv4 notify nullfs nvme nvmet ocfs2 offline on oom optimize optimizer or ordered osd page pci pcie per percpu
pidlist pm pool port power poweroff pr preempt proc prune pruner pstore punt pwr query queue quota raid1
raid10 raid5 raid6 random rbd rcu rdma read reap reaper reclaim recovery reg regulator release rescue reset
restart resync rmw rnbd rootfs rpc rpciod rsv rude rx sched scrub scsi sd serial server service session shared
sharing slub smb smp sock softirq spi split srcu state stats stop stopped stopper submit swapper switch sync
sysfs target task tasks tc tcm tcp thermal timer tmpfs tpm tr trace transaction transport ttm ttyS tx ubifs
ucounts udp ufs ufshcd uio unbound unlink update usb usbhid user uvc vfio vhost vhostd virtio virtiofs vmstat
vmw watchdog watchdogd wb wbs wifi worker workqueue wq write writeback xfs xfsaild xfsalloc xprt xprtiod zfs
zswap zvol
"""
_FILESYSTEMS = """
9p adfs affs afs anon apparmorfs autofs balloon bcachefs bdev befs bfs binder binderfs binfmt bootfs btrfs
cachefiles ceph cgroup cgroup2 cifs coda configfs cpuset cramfs dax debugfs devpts devtmpfs dmabuf drm
ecryptfs efivarfs efs erofs exfat ext2 ext3 ext4 f2fs failfs fuse fuseblk fusectl gadgetfs gfs2 hfs hfsplus
hostfs hpfs hugetlbfs inodefs iomem iso9660 isofs jffs2 jfs minix misc mqueue msdos nfs nfs4 nfsd nilfs2 nsfs
ntfs ntfs3 nullfs ocfs2 omfs orangefs overlay overlayfs pidfs pipefs proc pstore qnx4 qnx6 ramfs resctrl romfs
rootfs rpc securityfs selinuxfs shm smackfs smb3 sockfs spufs squashfs sysfs sysv tmpfs tracefs ubifs udf ufs
vboxsf vfat virtiofs vmblock xenfs xfs zonefs
"""
_PATHS = """
BOOT IMAGE anon bin boot bridge console core crashkernel ctl deleted dev devices drbdadm etc eventfd fs getent
hb home init initrd inode kernel key lib lib32 lib64 loglevel media mnt modprobe modules net nfsdcltrack none
null ocfs2 opt panic pid pipe poweroff proc pts q quiet rdinit reboot request ro root rootfstype rootwait run
rw sbin self shm socket splash srv stp sys sysroot tmp tty ttyS unreachable updates usermodehelper usr var
zero
"""
#: What systemd and the runtimes of containers call control groups.
_CGROUPS = """
app besteffort burstable conmon containerd cri crio docker init io k8s kubepods libpod lxc machine monitor
nerdctl nspawn payload qemu scope service session slice supervisor system systemd user
"""
_SAID = """
a address addresses all and any are as at attempt attempts back be been behind boot broke buffer but by bytes
cannot changed circle clocks cmdline collect command could count CPU dentries dentry does each end ends
entries error errors events every exited fault FaultError filename filesystem find Finished found from fs
fs_struct has hash have helper idle in info is it its jiffies kernel known layout left length line Linux list
listed load lookup lookupat made magic many mapped mnt more mount mounting mounts moved name nameidata
namespace next no not ns nsproxy number of openat other out page pages parent parentat path paths physical Pid
plugin plugins pointed pointer pointers prev pwd read reader reads recorded redact rest results ring rounds
running runs saved scheduler seen segment sense setting sharing signal stack state stopped string struct
subprocess superblock symbol table than that the them they this thread threads to too type underfoot unshare
value virtual visible was were what while with without workqueue would
"""

_NUMBERED = """
card cgroup cpuhp dm eh event ext idle inject irq jbd kcompactd kdamond kswapd ksoftirqd kworker loop md migration mmc
nbd nfsv null nvme pts raid ram rbd rcu rcuob rcuog rcuop scsi sd sr swapper tty ttyS vhost watchdogd xfs zram
"""

#: Threads, devices and filesystems that have a number behind their name: ``kswapd0``, ``ttyS1``.
NUMBERED_WORDS: frozenset[str] = frozenset(_NUMBERED.split())
#: What a capture and the built-in plugins call the settings they look up.
SETTING_NAMES: frozenset[str] = frozenset(
    {
        "APTPL file", "audit tree", "btrfs device", "core socket", "core_pattern", "db_root", "dev_search_path",
        "directory of init_ex_path", "fw_path", "fw_path_para", "init_ex_path", "modprobe_path", "poweroff_cmd",
        "reboot_cmd", "uevent_helper",
    }
)  # fmt: skip
#: Numbers of up to four digits, and the ``u8`` and ``0H`` of kworkers, are kept as well.
KEPT_WORDS: frozenset[str] = frozenset(f"{_THREADS} {_FILESYSTEMS} {_PATHS} {_CGROUPS} {_SAID}".split())
