//! The events that are posted: 2 KB of a school's data, each different.

use serde_json::{Value, json};

const NAMES: [&str; 12] =
    ["Aino", "Bruno", "Chiara", "Deniz", "Elif", "Farid", "Gustav", "Hanna", "Ivo", "Jana", "Kofi", "Lumi"];
const SUBJECTS: [&str; 6] = ["Mathematics", "Mother tongue", "Physics", "Geography", "Music", "Programming"];

/// A small generator of numbers (`SplitMix64`), so that each run posts the same bodies.
struct Numbers(u64);

impl Numbers {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    const fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff);
        format!("{a:08x}-{b:04x}-4{c:03x}-8{:03x}-{:012x}", low >> 52, low & 0xffff_ffff_ffff)
    }
}

/// The body of the post of event `number`: about 2 KB, of which DEFLATE leaves a little more than half.
pub fn post(number: usize) -> String {
    let mut numbers = Numbers(number as u64);
    let data = data(&mut numbers);
    json!({"id": format!("bench-{number}"), "type": "student.enrolled", "data": data}).to_string()
}

fn data(numbers: &mut Numbers) -> Value {
    let courses: Vec<Value> = (0..8).map(|_| course(numbers)).collect();
    let (name, family) = (numbers.of(&NAMES), numbers.of(&NAMES));
    json!({
        "student_id": numbers.uuid(),
        "school_id": numbers.uuid(),
        "first_name": name,
        "last_name": format!("{family}nen"),
        "email": format!("{}.{}{}@example.com", name.to_lowercase(), family.to_lowercase(), numbers.below(1000)),
        "date_of_birth": format!("20{:02}-{:02}-{:02}", 5 + numbers.below(10), 1 + numbers.below(12), 1 + numbers.below(28)),
        "guardians": [{"guardian_id": numbers.uuid(), "phone": format!("+35840{:07}", numbers.below(10_000_000))}],
        "note": "Enrolled by the secretary; the transcript of the former school is still to come.",
        "courses": courses,
    })
}

fn course(numbers: &mut Numbers) -> Value {
    json!({
        "course_id": numbers.uuid(),
        "teacher_id": numbers.uuid(),
        "subject": numbers.of(&SUBJECTS),
        "room": format!("{}{}", numbers.of(&["A", "B", "C"]), 100 + numbers.below(300)),
        "begins_at": format!("2026-0{}-{:02}T0{}:15:00Z", 1 + numbers.below(9), 1 + numbers.below(28), 8 + numbers.below(2)),
        "credits": numbers.below(12) as f64 / 2.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_two_kilobytes_and_no_two_are_alike() {
        let bodies: Vec<String> = (0..200).map(post).collect();
        let mean = bodies.iter().map(String::len).sum::<usize>() / bodies.len();
        assert!((1900..=2150).contains(&mean), "{mean} bytes");
        assert!(bodies.windows(2).all(|two| two[0] != two[1]));
    }
}
