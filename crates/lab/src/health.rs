//! What a healthy kernel does not write on its console.

/// Parts of lines by which Linux complains: an oops, a `WARN`, a stall of RCU, a lock-up, an NMI nobody asked for.
const COMPLAINTS: [&str; 14] = [
    "BUG:",
    "Oops",
    "Kernel panic",
    "Uhhuh",
    "detected stall",
    "self-detected",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "WARNING: CPU",
    "Call Trace",
    "general protection fault",
    "Bad FPU state",
    "scheduling while atomic",
];

/// The lines of a console that are complaints.
#[must_use]
pub fn complaints(console: &str) -> Vec<String> {
    let bad = |line: &&str| COMPLAINTS.iter().any(|part| line.contains(part));
    console.lines().filter(bad).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch an oops that passes, and a test that fails on what Debian's kernel writes at every boot under TCG.
    #[test]
    fn complaints_are_found_and_a_usual_boot_has_none() {
        let usual = "Command line: console=ttyS0,115200 panic=-1 oops=panic\n\
                     Speculative Return Stack Overflow: WARNING: See https://kernel.org/doc\n\
                     rcu: RCU CPU stall warnings enabled\nmtrr: your CPUs had inconsistent fixed MTRR settings\n";
        assert_eq!(complaints(usual), [""; 0]);
        for line in [
            "[    9.1] BUG: unable to handle page fault for address: ffffffffc0000000",
            "[    9.1] Oops: 0002 [#1] PREEMPT SMP NOPTI",
            "[    9.1] WARNING: CPU: 1 PID: 7 at kernel/rcu/tree.c:1",
            "[    9.1] Uhhuh. NMI received for unknown reason 3d on CPU 0.",
            "[   60.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[   60.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[   60.1] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [sh:7]",
            "[   60.1] Kernel panic - not syncing: Fatal exception",
        ] {
            assert_eq!(complaints(&format!("{usual}{line}\n")), [line]);
        }
    }
}
