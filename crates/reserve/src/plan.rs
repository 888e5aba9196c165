//! The plan: what the units of each kind are made of, and how many of them there shall be.
//!
//! A unit is a bundle: whole frames that lie side by side, and a small part beside them. A *slab* is a run of frames that
//! is cut into equal units, their frames first, their small parts behind:
//! ```text
//! frame   0       1       2       3                 a slab of 3 units, each of 1 frame and 1024 bytes
//!       | unit 0 | unit 1 | unit 2 | 0  1  2  -- |
//! ```
//! **Holds always**
//! - P1: a slab's units fit its frames, and no slab has more units than its frames may carry.
//! - P2: low ≤ target ≤ high for every kind.
//!
//! **Callers**: the embedder, once, before there is a reserve. **Cost**: none later. **Proof**: the tests below.

use crate::limits::{FRAME_BYTES, KINDS_MAX, SLAB_FRAMES_MAX, SLAB_FRAMES_USUAL, SLOTS_MAX, SMALL_ALIGN, UNITS_PER_FRAME_MAX};

/// What one unit consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whole frames, side by side.
    pub frames: u32,
    /// Bytes beside them, side by side too; rounded up to [`SMALL_ALIGN`].
    pub bytes: u32,
}

/// A run of frames and the units it is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slab {
    /// Frames of the run.
    pub frames: u32,
    /// Units in it.
    pub units: u32,
}

impl Shape {
    /// Bytes of the small part as they are laid out.
    #[must_use]
    pub const fn stride(self) -> u32 {
        self.bytes.next_multiple_of(SMALL_ALIGN)
    }

    /// The slab that units of this shape come from: the smallest that wastes an eighth at most, else the one that wastes
    /// least; `None` if the shape is empty or exceeds [`SLAB_FRAMES_MAX`].
    #[must_use]
    pub const fn slab(self) -> Option<Slab> {
        if self.frames > SLAB_FRAMES_MAX || self.bytes > SLAB_FRAMES_MAX * FRAME_BYTES || self.frames + self.bytes == 0 {
            return None;
        }
        let unit_bytes = self.frames * FRAME_BYTES + self.stride();
        let mut best: Option<(Slab, u32)> = None;
        let mut units = 1;
        loop {
            let frames = units * self.frames + (units * self.stride()).div_ceil(FRAME_BYTES);
            let most = if units == 1 { SLAB_FRAMES_MAX } else { SLAB_FRAMES_USUAL };
            if frames > most || units > frames * UNITS_PER_FRAME_MAX {
                break;
            }
            let waste_permille = (frames * FRAME_BYTES - units * unit_bytes) * 1000 / (frames * FRAME_BYTES);
            let better = match best {
                Some((_, least)) => waste_permille < least,
                None => true,
            };
            if better {
                best = Some((Slab { frames, units }, waste_permille));
            }
            if waste_permille <= 125 {
                break;
            }
            units += 1;
        }
        match best {
            Some((slab, _)) => Some(slab),
            None => None,
        }
    }
}

/// One kind: what a unit is, how many shall be free, how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindPlan {
    /// What a unit consists of.
    pub shape: Shape,
    /// Fewer free units than this are a deficit; what a user keeps by `prealloc` counts on top of each of the three marks.
    pub low: u64,
    /// A deficit is filled up to this many free units.
    pub target: u64,
    /// More free units than this go back to the bank, down to the target.
    pub high: u64,
    /// At most this many 1024ths of RAM for the kind.
    pub ram_1024ths: u32,
}

/// What a reserve is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan<const KINDS: usize> {
    /// The kinds, by index.
    pub kinds: [KindPlan; KINDS],
    /// Frames of RAM that the machine has.
    pub ram_frames: u64,
    /// Whole blocks go back to the kernel while the bank would still hold this many free frames.
    pub bank_target: u64,
}

/// Why a plan cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPlan {
    /// More than [`KINDS_MAX`] kinds, or none.
    Kinds {
        /// How many.
        kinds: usize,
    },
    /// More than [`SLOTS_MAX`] slots.
    Slots {
        /// How many.
        slots: usize,
    },
    /// The shape is empty, or no slab can hold it.
    Shape {
        /// Of this kind.
        kind: usize,
        /// The shape.
        shape: Shape,
    },
    /// Not low ≤ target ≤ high.
    Marks {
        /// Of this kind.
        kind: usize,
    },
}

impl<const KINDS: usize> Plan<KINDS> {
    /// The slab of each kind, if P1 and P2 hold.
    pub(crate) fn check(&self, slots: usize) -> Result<[Slab; KINDS], BadPlan> {
        if KINDS == 0 || KINDS > KINDS_MAX {
            return Err(BadPlan::Kinds { kinds: KINDS });
        }
        if slots > SLOTS_MAX {
            return Err(BadPlan::Slots { slots });
        }
        let mut slabs = [Slab { frames: 1, units: 1 }; KINDS];
        for (kind, (plan, slab)) in self.kinds.iter().zip(&mut slabs).enumerate() {
            *slab = plan.shape.slab().ok_or(BadPlan::Shape { kind, shape: plan.shape })?;
            if plan.low > plan.target || plan.target > plan.high {
                return Err(BadPlan::Marks { kind });
            }
        }
        Ok(slabs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a slab whose units overlap, do not fit it, or outnumber its places in the table (P1).
    #[test]
    fn every_slab_holds_its_units() {
        for frames in 0..=SLAB_FRAMES_MAX + 1 {
            for bytes in (0..3 * FRAME_BYTES).step_by(24).chain([8572, 16_816, 81_920, 86_296, 262_144, 262_145]) {
                let shape = Shape { frames, bytes };
                let Some(slab) = shape.slab() else {
                    assert!(frames + bytes == 0 || frames + bytes.div_ceil(FRAME_BYTES) > SLAB_FRAMES_MAX, "{shape:?}");
                    continue;
                };
                assert!(slab.units > 0 && slab.units <= slab.frames * UNITS_PER_FRAME_MAX, "{shape:?} {slab:?}");
                assert!(slab.frames <= SLAB_FRAMES_MAX, "{shape:?} {slab:?}");
                let need = u64::from(slab.units) * u64::from(frames * FRAME_BYTES + shape.stride());
                assert!(need <= u64::from(slab.frames * FRAME_BYTES), "{shape:?} {slab:?}");
            }
        }
    }

    /// Would catch a rule for slabs that wastes what HyperDbg wastes (half of each of its 8 KiB objects).
    #[test]
    fn the_documented_objects_waste_an_eighth_at_most() {
        let slab = |frames, bytes| Shape { frames, bytes }.slab();
        assert_eq!(slab(1, 0), Some(Slab { frames: 1, units: 1 }), "regular safe buffer");
        assert_eq!(slab(20, 0), Some(Slab { frames: 20, units: 1 }), "big safe buffer");
        assert_eq!(slab(0, 284 + 8288), Some(Slab { frames: 7, units: 3 }), "regular event and its action");
        assert_eq!(slab(0, 4280 + 82_016), Some(Slab { frames: 22, units: 1 }), "big event and its action");
        assert_eq!(slab(0, 16_816), Some(Slab { frames: 9, units: 2 }), "thread holder");
        assert_eq!(slab(1, 128), Some(Slab { frames: 7, units: 6 }), "a table and what a monitor remembers");
        assert_eq!(slab(0, 72), Some(Slab { frames: 1, units: 4 }), "breakpoint: the limit of units on a frame");
    }
}
