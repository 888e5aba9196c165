//! A bad line: stands between a debugger and a guest's link, and drops, cuts or corrupts some of the frames.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// What happened on the line so far, both directions together.
#[derive(Debug, Default)]
pub struct Noise {
    /// Frames that came, spoilt ones included.
    pub frames: AtomicU64,
    /// Frames that did not arrive as they were sent.
    pub spoilt: AtomicU64,
}

/// A number from a seed, the next at each call (splitmix64, by Steele, Lea and Flood, in the public domain).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and nobody iterates")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}

/// Listens at `path` and carries each connection to `link`, spoiling one frame in `one_in`. It ends with the process.
///
/// # Errors
/// If nobody can listen there.
pub fn start(path: PathBuf, link: &Path, one_in: usize, seed: u64) -> std::io::Result<Arc<Noise>> {
    let listener = UnixListener::bind(path)?;
    let link = link.to_owned();
    let noise = Arc::new(Noise::default());
    let told = Arc::clone(&noise);
    thread::spawn(move || {
        let mut seed = seed;
        while let Ok((debugger, _)) = listener.accept() {
            let Ok(guest) = UnixStream::connect(&link) else { return };
            let both = [(debugger.try_clone(), guest.try_clone()), (guest.try_clone(), debugger.try_clone())];
            for (from, to) in both {
                let (Ok(from), Ok(to)) = (from, to) else { return };
                let noise = Arc::clone(&told);
                seed = seed.wrapping_add(1);
                let random = Random(seed);
                thread::spawn(move || carry(from, to, one_in, random, &noise));
            }
        }
    });
    Ok(noise)
}

/// Carries bytes frame by frame, up to and with each 0x00, until one side closes.
fn carry(mut from: UnixStream, mut to: UnixStream, one_in: usize, mut random: Random, noise: &Noise) {
    let mut frame = Vec::new();
    let mut room = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut room) {
        for byte in &room[..count] {
            frame.push(*byte);
            // The 0x00 in front of a frame is no frame.
            if *byte != 0 || frame.len() == 1 {
                continue;
            }
            noise.frames.fetch_add(1, Relaxed);
            if random.below(one_in) == 0 {
                noise.spoilt.fetch_add(1, Relaxed);
                spoil(&mut frame, &mut random);
            }
            if to.write_all(&frame).is_err() {
                return;
            }
            frame.clear();
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Drops a frame, cuts it short or changes a byte of it.
fn spoil(frame: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(frame.len());
    match random.below(3) {
        0 => frame.clear(),
        1 => frame.truncate(at),
        _ => frame[at] ^= 1 << random.below(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a line that spoils nothing, so that the tests over it prove nothing, and one whose seed does not repeat.
    #[test]
    fn a_spoilt_frame_differs_and_a_seed_repeats() {
        let frame: Vec<u8> = (1..40).chain([0]).collect();
        let spoil_all = |seed| -> Vec<Vec<u8>> {
            let mut random = Random(seed);
            (0..200)
                .map(|_| {
                    let mut spoilt = frame.clone();
                    spoil(&mut spoilt, &mut random);
                    spoilt
                })
                .collect()
        };
        let first = spoil_all(1);
        assert!(first.iter().all(|spoilt| *spoilt != frame));
        assert!(first.iter().any(Vec::is_empty) && first.iter().any(|spoilt| spoilt.len() == frame.len()));
        assert_eq!(first, spoil_all(1));
    }
}
