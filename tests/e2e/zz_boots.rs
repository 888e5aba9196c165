//! Boots, again and again.
use lab::Machine;
use std::time::Duration;
use tests::Result;

#[test]
fn boots() -> Result {
    let many: u32 = std::env::var("BOOTS").unwrap_or_default().parse().unwrap_or(10);
    for n in 0..many {
        let mut machine = Machine::builder().without_insmod().kernel_argument("unknown_nmi_panic panic_print=0x1").boot()?;
        let begun = std::time::Instant::now();
        let job = machine.spawn("grep ^flags /proc/cpuinfo")?;
        while machine.job_ended(job)?.is_none() {
            std::thread::sleep(Duration::from_millis(20));
            if begun.elapsed() > Duration::from_secs(20) {
                println!("boot {n}: HANG");
                machine.qmp("inject-nmi", &serde_json::json!({}))?;
                std::thread::sleep(Duration::from_secs(8));
                return Err(machine.fault(lab::Fault::Gone).into());
            }
        }
        println!("boot {n}: {:?}", begun.elapsed());
    }
    Ok(())
}
