//! Bodies of events as apps send them, for tests that depend on how well a body compresses: item sizes, prices, loads.
//!
//! A body of one repeated letter deflates to almost nothing, so a number that is measured with it says little. These bodies
//! have a mean size of 2.0 KB, and half of them have at least eight UUIDs. DEFLATE leaves at least 40 % of their bytes. The
//! tests below assert all three. The same seed gives the same bodies.

use serde_json::{Map, Value, json};

/// Words of notes and comments, from frequent to rare.
const WORDS: &str = "the to and a of in for is on with that it was be this has we as are at not by from have will they \
    student class teacher school please time week course parents today after before lesson homework about which their \
    been can all would when there our your one more than next meeting report group project exam received still work \
    progress science history reading music mathematics chemistry improved missing late absent excused agreed discussed \
    contacted returned submitted additional support because however although during between without several questions \
    answered carefully schedule changed Thursday Monday library laboratory equipment permission signed afternoon morning \
    excellent difficult understood exercise chapter presentation deadline extension requested approved doctor appointment \
    transport competition volunteers autumn semester certificate scholarship recommended attention concentration vocabulary";
const FIRST_NAMES: &str = "Amara Bram Chloe Dmitri Elif Farid Greta Hiro Ines Jonas Kwame Leila Mateo Nadia Oskar Priya \
    Quentin Rosa Sven Tariq Uma Viktor Wanda Xavier Yuki Zofia";
const LAST_NAMES: &str = "Andersson Becker Castillo Dubois Eriksen Fischer Garcia Haddad Ivanova Jansen Kowalski Lindqvist \
    Moreau Nakamura Okafor Petrov Quispe Rossi Schneider Tanaka Ueda Vargas Weber Yilmaz Zimmermann";
const STREETS: &str =
    "Birkenweg Church Street Kastanienallee Mill Lane Rue Victor Via Garibaldi Station Road Lindenstrasse";
const CITIES: &str = "Aarhus Bologna Coimbra Dresden Espoo Freiburg Ghent Helsingborg Innsbruck Jena Kaunas Leiden";
const ITEMS: &str = "notebook pencil compass ruler atlas dictionary calculator backpack easel microscope globe chalk binder \
    stapler eraser marker folder tablet headset projector";

const SUBJECTS: &str = "biology chemistry geography history mathematics music physics reading spelling";

/// The seed whose first hundred bodies are most like 3,000 others in their mean size and in how many fit a write unit.
pub const USUAL: u64 = 8;

/// An endless sequence of the `data` of events.
#[derive(Debug, Clone)]
pub struct Bodies {
    numbers: Numbers,
    made: u64,
}

impl Bodies {
    /// The sequence of a seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { numbers: Numbers(seed), made: 0 }
    }
}

impl Iterator for Bodies {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.made += 1;
        let numbers = &mut self.numbers;
        Some(match self.made % 4 {
            0 => enrolment(numbers),
            1 => message(numbers),
            2 => order(numbers),
            _ => report(numbers),
        })
    }
}

/// A record that refers to many others by their ids.
fn enrolment(n: &mut Numbers) -> Value {
    let day = n.day();
    let guardians: Vec<_> = (0..n.between(1, 2)).map(|_| person(n)).collect();
    let courses: Vec<_> = (0..n.between(5, 7))
        .map(|_| {
            let (room, hours) = (format!("B{}", n.between(100, 399)), n.between(1, 6));
            json!({
                "course_id": n.uuid(), "teacher_id": n.uuid(), "room": room, "hours_per_week": hours,
                "status": "confirmed", "waiting_list_position": null,
            })
        })
        .collect();
    json!({
        "enrolment_id": n.uuid(), "student": person(n), "guardians": guardians, "courses": courses, "school_id": n.uuid(),
        "created_at": n.time(&day), "updated_at": n.time(&day), "status": "active", "previous_school_id": null,
        "note": n.text(4, 20),
    })
}

/// A message: mostly text that somebody typed.
fn message(n: &mut Numbers) -> Value {
    let day = n.day();
    let replies: Vec<_> = (0..n.between(1, 3))
        .map(|_| json!({"author_name": n.name(), "text": n.text(40, 90), "created_at": n.time(&day), "is_read": true}))
        .collect();
    json!({
        "message_id": n.uuid(), "thread": n.between(1000, 99_999), "author_name": n.name(), "subject": n.text(4, 8),
        "text": n.text(80, 170), "replies": replies, "attachments": [], "is_read": n.below(2) == 0,
        "created_at": n.time(&day), "updated_at": n.time(&day),
    })
}

/// An order with a line for each product.
fn order(n: &mut Numbers) -> Value {
    let day = n.day();
    let lines: Vec<_> = (0..n.between(7, 11))
        .map(|_| {
            let (quantity, cents) = (n.between(1, 12), n.between(150, 24_000));
            json!({
                "product_id": n.uuid(), "name": n.word(ITEMS), "quantity": quantity, "unit_price_cents": cents,
                "total_price_cents": quantity * cents, "sku": n.between(10_000, 99_999), "tax_rate": "0.19", "discount": null,
            })
        })
        .collect();
    json!({
        "order_id": n.uuid(), "customer": person(n), "lines": lines, "currency": "EUR", "shipping_address": address(n),
        "created_at": n.time(&day), "updated_at": n.time(&day), "status": "confirmed",
    })
}

/// Marks and measurements: mostly numbers.
fn report(n: &mut Numbers) -> Value {
    let day = n.day();
    let entries: Vec<_> = (0..n.between(13, 19))
        .map(|_| {
            let (score, minutes) = (n.below(10_000) as f64 / 100.0, n.between(5, 120));
            json!({"measured_at": n.time(&day), "score": score, "minutes": minutes, "subject": n.word(SUBJECTS)})
        })
        .collect();
    json!({
        "report_id": n.uuid(), "student_name": n.name(), "entries": entries, "remark": n.text(10, 40), "address": address(n),
        "created_at": n.time(&day),
    })
}

fn person(n: &mut Numbers) -> Value {
    let (first, last) = (n.word(FIRST_NAMES), n.word(LAST_NAMES));
    let mail = format!("{}.{}{}@example.org", first.to_lowercase(), last.to_lowercase(), n.below(100));
    let phone = format!("+49{}", n.between(1_500_000_000, 1_799_999_999));
    json!({"id": n.uuid(), "first_name": first, "last_name": last, "email": mail, "phone": phone, "address": address(n)})
}

fn address(n: &mut Numbers) -> Value {
    let street = format!("{} {}", n.word(STREETS), n.between(1, 180));
    json!({"street": street, "postcode": n.between(10_000, 99_999).to_string(), "city": n.word(CITIES)})
}

/// Numbers that look random, the same for the same seed (splitmix64).
#[derive(Debug, Clone)]
struct Numbers(u64);

impl Numbers {
    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }

    /// A number from `least` to `most`, both included.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    fn word(&mut self, list: &'static str) -> &'static str {
        let words: Vec<_> = list.split_whitespace().collect();
        words[self.below(words.len() as u64) as usize]
    }

    fn name(&mut self) -> String {
        format!("{} {}", self.word(FIRST_NAMES), self.word(LAST_NAMES))
    }

    /// A text of `least` to `most` words, in which frequent words come more often.
    fn text(&mut self, least: u64, most: u64) -> String {
        let list: Vec<_> = WORDS.split_whitespace().collect();
        let count = self.between(least, most);
        // The lower of two random places is taken, so that the first words come up to twice as often.
        let words = (0..count).map(|_| self.below(list.len() as u64).min(self.below(list.len() as u64)) as usize);
        words.map(|place| list[place]).collect::<Vec<_>>().join(" ")
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.any(), self.any());
        let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff);
        format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", 0x8000 | (low >> 50), low & 0xffff_ffff_ffff)
    }

    fn day(&mut self) -> String {
        format!("2026-{:02}-{:02}", self.between(1, 12), self.between(1, 28))
    }

    fn time(&mut self, day: &str) -> String {
        format!("{day}T{:02}:{:02}:{:02}Z", self.between(7, 18), self.below(60), self.below(60))
    }
}

/// Number of UUIDs in a body.
#[must_use]
pub fn uuids(data: &Value) -> usize {
    match data {
        Value::String(text) => usize::from(is_uuid(text)),
        Value::Array(values) => values.iter().map(uuids).sum(),
        Value::Object(fields) => Map::values(fields).map(uuids).sum(),
        _ => 0,
    }
}

/// The same body with each word backwards, in names as in texts: none is in the dictionary that bodies are compressed with.
#[must_use]
pub fn backwards_of(data: &Value) -> Value {
    match data {
        Value::String(text) if !is_uuid(text) => words_backwards(text).into(),
        Value::Array(values) => values.iter().map(backwards_of).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (words_backwards(name), backwards_of(value))).collect()
        }
        other => other.clone(),
    }
}

fn words_backwards(text: &str) -> String {
    let is_letter = |one: &char| one.is_alphabetic();
    let runs = text.chars().collect::<Vec<_>>();
    let runs = runs.chunk_by(|one, next| is_letter(one) == is_letter(next));
    runs.flat_map(|run| if is_letter(&run[0]) { run.iter().rev().collect::<Vec<_>>() } else { run.iter().collect() })
        .collect()
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use pombo_domain::body::{PackedBody, wire_body};
    use pombo_domain::time::Timestamp;

    use super::*;

    /// The size of each of a seed's first hundred bodies, in bytes: on the wire, and after DEFLATE.
    fn sizes(seed: u64) -> Vec<(usize, usize)> {
        let of = |data: Value| {
            let data = serde_json::value::to_raw_value(&data).unwrap();
            let wire =
                wire_body(&"student.enrolled".parse().unwrap(), Timestamp::from_millis(1_764_288_000_000), &data);
            (wire.len(), deflated(&wire))
        };
        Bodies::seeded(seed).take(100).map(of).collect()
    }

    /// The size after raw DEFLATE without a dictionary. This does not depend on how Pombo packs bodies.
    fn deflated(body: &[u8]) -> usize {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap().len()
    }

    #[test]
    fn a_hundred_bodies_have_a_mean_of_2_kb_of_which_deflate_leaves_at_least_two_fifths() {
        for seed in 0..20 {
            let sizes = sizes(seed);
            let raw: usize = sizes.iter().map(|size| size.0).sum();
            let packed: usize = sizes.iter().map(|size| size.1).sum();
            let (mean, left) = (raw as f64 / 100.0, packed as f64 / raw as f64);
            assert!((1_950.0..=2_150.0).contains(&mean), "seed {seed}: {mean} bytes");
            assert!(left >= 0.4, "seed {seed}: DEFLATE leaves {left}");
        }
    }

    /// An event takes at most 233 bytes of a write unit's 1024 in addition to its body
    /// (`an_event_takes_at_most_233_bytes_beside_its_body`). The price in docs/cost.md is right only if at most 29 of 100
    /// bodies do not fit.
    #[test]
    fn at_most_29_of_100_events_take_more_than_one_write_unit() {
        let bodies = (0..30).flat_map(|seed| Bodies::seeded(seed).take(100));
        let larger = bodies.filter(|data| packed(data) > 1024 - 233).count();
        assert!(larger <= 29 * 30, "{larger} of 3000");
    }

    fn packed(data: &Value) -> usize {
        let data = serde_json::value::to_raw_value(data).unwrap();
        let at = Timestamp::from_millis(1_764_288_123_456);
        PackedBody::pack(&wire_body(&"student.enrolled".parse().unwrap(), at, &data)).bytes.len()
    }

    #[test]
    fn words_that_are_written_backwards_are_as_many_and_in_no_dictionary() {
        let data = json!({"is_read": [true, null, 7], "id": "0f0e0d0c-0000-4000-8000-00000000abcd", "text": "the 2nd lesson, ok?"});
        let backwards = json!({"si_daer": [true, null, 7], "di": "0f0e0d0c-0000-4000-8000-00000000abcd", "txet": "eht 2dn nossel, ko?"});
        assert_eq!(backwards_of(&data), backwards);
        for data in Bodies::seeded(1).take(20) {
            let other = backwards_of(&data);
            assert_eq!(other.to_string().len(), data.to_string().len());
            assert!(packed(&other) > packed(&data));
        }
    }

    #[test]
    fn half_of_the_bodies_have_at_least_eight_uuids() {
        let rich = Bodies::seeded(USUAL).take(100).filter(|data| uuids(data) >= 8).count();
        assert_eq!(rich, 50);
    }

    #[test]
    fn a_seed_gives_the_same_bodies_and_another_one_others() {
        let first = |seed| Bodies::seeded(seed).take(8).collect::<Vec<_>>();
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }
}
