//! `infra/template.yaml` as CloudFormation gets it, and what it allows whom.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What CloudFormation gets, under these parameters.
pub struct Template {
    /// The transform's output.
    pub json: Value,
    parameters: BTreeMap<&'static str, &'static str>,
}

impl Template {
    /// Under these parameters; the others have their defaults.
    pub async fn with(parameters: &[(&'static str, &'static str)]) -> Self {
        let json = local::translate(parameters).await.unwrap();
        Self { json, parameters: parameters.iter().copied().collect() }
    }

    /// The names of all resources of a type.
    #[must_use]
    pub fn names(&self, kind: &str) -> BTreeSet<&str> {
        let resources = self.json["Resources"].as_object().unwrap();
        resources.iter().filter(|(_, resource)| resource["Type"] == kind).map(|(name, _)| name.as_str()).collect()
    }

    /// A resource's properties.
    #[must_use]
    pub fn properties(&self, name: &str) -> &Value {
        let properties = &self.json["Resources"][name]["Properties"];
        assert!(properties.is_object(), "there is no {name}");
        properties
    }

    /// The value without its conditions; `None` for what is not there at all.
    #[must_use]
    pub fn standing<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        if let Some(choice) = value.get("Fn::If") {
            let chosen = if self.holds(choice[0].as_str().unwrap()) { &choice[1] } else { &choice[2] };
            return self.standing(chosen);
        }
        (!value.is_null() && value["Ref"] != "AWS::NoValue").then_some(value)
    }

    /// Whether one of the template's conditions holds.
    #[must_use]
    pub fn holds(&self, condition: &str) -> bool {
        self.evaluate(&self.json["Conditions"][condition])
    }

    fn evaluate(&self, condition: &Value) -> bool {
        if let Some(negated) = condition.get("Fn::Not") {
            return !self.evaluate(&negated[0]);
        }
        let sides = condition["Fn::Equals"].as_array().unwrap();
        self.text(&sides[0]) == self.text(&sides[1])
    }

    /// A value as text: a parameter as what it is, a resource or its ARN by its name in the template.
    #[must_use]
    pub fn text(&self, value: &Value) -> String {
        if let Some(name) = value["Ref"].as_str() {
            let parameter = &self.json["Parameters"][name];
            return match self.parameters.get(name) {
                Some(given) => (*given).to_owned(),
                None if parameter.is_object() => self.text(&parameter["Default"]),
                None => name.to_owned(),
            };
        }
        if value.get("Fn::If").is_some() {
            return self.text(self.standing(value).unwrap());
        }
        if let Some(place) = value["Fn::FindInMap"].as_array() {
            let [map, row, column] = [0, 1, 2].map(|at| self.text(&place[at]));
            return self.text(&self.json["Mappings"][map][row][column]);
        }
        match (value["Fn::GetAtt"].as_array(), value["Fn::Sub"].as_str(), value.as_str()) {
            (Some(attribute), ..) => {
                assert!(["Arn", "QueueName"].iter().any(|name| attribute[1] == *name), "{value}");
                attribute[0].as_str().unwrap().to_owned()
            }
            (_, Some(pattern), _) => match pattern.strip_prefix("${") {
                Some(rest) => rest.replacen(".Arn}", "", 1).replacen('}', "", 1),
                None => pattern.to_owned(),
            },
            (.., Some(text)) => text.to_owned(),
            _ => value.to_string(),
        }
    }

    /// A value as a number.
    #[must_use]
    pub fn number(&self, value: &Value) -> u64 {
        self.text(value).parse().unwrap()
    }

    /// Each of a list's values as text; a single one is a list of one.
    #[must_use]
    pub fn texts(&self, value: &Value) -> Vec<String> {
        match value.as_array() {
            Some(values) => values.iter().map(|value| self.text(value)).collect(),
            None => vec![self.text(value)],
        }
    }

    /// What a role may do, one line for each action and resource; what it is denied begins with that word.
    #[must_use]
    pub fn allowed(&self, role: &str) -> BTreeSet<String> {
        let parts: Vec<_> = self.properties(role).as_object().unwrap().keys().collect();
        assert_eq!(parts, ["AssumeRolePolicyDocument", "Policies"], "{role}: no managed policy says more");
        let mut lines = BTreeSet::new();
        let of_role = |name: &&str| self.texts(&self.properties(name)["Roles"]).contains(&role.to_owned());
        let attached = self.names("AWS::IAM::Policy").into_iter().filter(of_role).filter(|name| {
            let condition = self.json["Resources"][name]["Condition"].as_str();
            condition.is_none_or(|condition| self.holds(condition))
        });
        let own = self.properties(role)["Policies"].as_array().unwrap().iter();
        for policy in own.chain(attached.map(|name| self.properties(name))) {
            let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
            for statement in statements.iter().filter_map(|statement| self.standing(statement)) {
                let known = ["Effect", "Action", "Resource", "Condition"];
                assert!(statement.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{statement}");
                let denied = if statement["Effect"] == "Deny" { "denied " } else { "" };
                assert!(!denied.is_empty() || statement["Effect"] == "Allow", "{statement}");
                let condition = self.condition(&statement["Condition"]);
                for action in self.texts(&statement["Action"]) {
                    for resource in self.texts(&statement["Resource"]) {
                        assert!(
                            lines.insert(format!("{denied}{action} {resource}{condition}")),
                            "{role}: {action} twice"
                        );
                    }
                }
            }
        }
        lines
    }

    /// A statement's condition, as words behind it.
    #[must_use]
    pub fn condition(&self, condition: &Value) -> String {
        let mut words = String::new();
        for (operator, values) in condition.as_object().into_iter().flatten() {
            assert!(["ArnLike", "StringEquals", "ForAllValues:StringLike"].contains(&operator.as_str()), "{operator}");
            for (key, value) in values.as_object().unwrap() {
                words += &format!(" if {key} is {}", self.texts(value).join(" or "));
            }
        }
        words
    }

    /// The queue and the function of each event source.
    #[must_use]
    pub fn event_sources(&self) -> BTreeMap<String, (String, &Value)> {
        let of = |name| {
            let mapping = self.properties(name);
            (self.text(&mapping["EventSourceArn"]), (self.text(&mapping["FunctionName"]), mapping))
        };
        self.names("AWS::Lambda::EventSourceMapping").into_iter().map(of).collect()
    }
}
