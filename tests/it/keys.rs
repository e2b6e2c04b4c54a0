//! API keys: who may do what.

use std::time::Duration;

use local::Api;
use pombo_tests::{Stack, scenario, unique};
use serde_json::{Value, json};

fn apis(stack: &Stack, key: &str) -> [(Api, &'static str, &'static str); 3] {
    let urls = &stack.local.urls;
    [
        (Api::new(&urls.ingest, key), "ingest", "/v1/events"),
        (Api::new(&urls.replay, key), "ops", "/v1/deliveries"),
        (Api::new(&urls.endpoints, key), "admin", "/v1/keys"),
    ]
}

/// The status of a harmless call to each URL: 202 or 200 when the key may, 403 when its scope does not.
async fn statuses(stack: &Stack, key: &str) -> [u16; 3] {
    let mut statuses = [0; 3];
    for (place, (api, scope, path)) in apis(stack, key).into_iter().enumerate() {
        let (status, _) = match scope {
            "ingest" => api.post(path, &json!({"type": "a", "data": {}})).await.unwrap(),
            _ => api.get(path).await.unwrap(),
        };
        statuses[place] = status;
    }
    statuses
}

#[scenario]
async fn each_scope_opens_its_urls_and_no_others() {
    let stack = Stack::calm().await;
    for (scopes, expected) in [
        (vec!["ingest"], [202, 403, 403]),
        (vec!["ops"], [202, 200, 403]),
        (vec!["admin"], [202, 200, 200]),
        (vec!["ingest", "ops"], [202, 200, 403]),
        (vec!["endpoints"], [403, 403, 403]),
        (vec!["endpoints", "ops"], [202, 200, 403]),
    ] {
        let key = stack.key(&scopes, None).await;
        assert_eq!(statuses(stack, &key).await, expected, "{scopes:?}");
    }
    for wrong in ["", "pk_nonsense", &stack.local.keys.admin[..20], &format!("{}x", stack.local.keys.admin)] {
        assert_eq!(statuses(stack, wrong).await, [401; 3], "{wrong:?}");
    }
}

#[scenario]
async fn a_revoked_key_is_refused_within_a_minute() {
    let stack = Stack::calm().await;
    let key = stack.key(&["ingest"], None).await;
    let api = Stack::api(&stack.local.urls.ingest, &key);
    let post = || async { api.post("/v1/events", &json!({"type": "a", "data": {}})).await.unwrap().0 };
    assert_eq!(post().await, 202);
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(stack.local.endpoints().delete(&format!("/v1/keys/{id}")).await.unwrap().0, 204);
    pombo_tests::eventually("the key is refused", std::time::Duration::from_secs(60), || async {
        (post().await == 401).then_some(())
    })
    .await;
}

#[scenario]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let stack = Stack::calm().await;
    let tenant = unique("t");
    let key = stack.key(&["ops", "ingest"], Some(&tenant)).await;
    let (status, list) = stack.local.endpoints().get(&format!("/v1/keys?tenant={tenant}")).await.unwrap();
    assert_eq!((status, list["keys"].as_array().unwrap().len()), (200, 1), "{list}");
    assert_eq!((&list["keys"][0]["scopes"], &list["keys"][0]["tenant"]), (&json!(["ingest", "ops"]), &json!(tenant)));
    let secret = key.rsplit('_').next().unwrap();
    assert!(!list.to_string().contains(secret));
}

#[scenario]
async fn the_first_keys_path_is_closed_to_the_url_and_makes_admin_keys_only() {
    let stack = Stack::calm().await;
    let client = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
    let invoke = |payload: serde_json::Value| {
        let client = client.clone();
        async move {
            let function = stack.resource("EndpointsFunction");
            let payload = payload.to_string().into_bytes();
            let answer = client.invoke().function_name(function).payload(payload.into()).send().await.unwrap();
            let text = String::from_utf8(answer.payload.unwrap().into_inner()).unwrap();
            (answer.function_error.is_some(), serde_json::from_str::<serde_json::Value>(&text).unwrap())
        }
    };
    let (failed, made) = invoke(json!({"create_admin_key": {"name": "x"}})).await;
    assert!(!failed, "{made}");
    assert_eq!(made["scopes"], json!(["admin"]));
    assert_eq!(statuses(stack, made["key"].as_str().unwrap()).await, [202, 200, 200]);
    for wrong in [
        json!({"create_admin_key": {"name": "x"}, "requestContext": {}}),
        json!({"create_admin_key": {"name": "x"}, "requestContext": {"http": {"method": "POST", "path": "/"}}}),
        json!({"create_admin_key": {"name": "x", "scopes": ["ingest"]}}),
        json!({}),
    ] {
        let (failed, answer) = invoke(wrong.clone()).await;
        assert!(failed || answer["statusCode"].as_u64().is_some_and(|status| status >= 400), "{wrong}: {answer}");
        assert!(!answer.to_string().contains("pk_"), "{wrong}: {answer}");
    }
    let (status, _) = stack.local.endpoints().post("/", &json!({"create_admin_key": {"name": "x"}})).await.unwrap();
    assert_eq!(status, 404);
}

/// Makes a key with the holder of another one; gives the key and what the API says of it.
async fn made_by(stack: &Stack, maker: &str, scopes: &[&str], tenant: Option<&str>) -> (String, Value) {
    let api = Stack::api(&stack.local.urls.endpoints, maker);
    let new = json!({"name": "made", "scopes": scopes, "tenant": tenant});
    let (status, made) = api.post("/v1/keys", &new).await.unwrap();
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap();
    stack.keep_secret(key);
    (key.to_owned(), made)
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

/// What `GET /v1/keys` answers to a key.
async fn status_of(stack: &Stack, key: &str) -> u16 {
    Stack::api(&stack.local.urls.endpoints, key).get("/v1/keys").await.unwrap().0
}

#[scenario]
async fn a_revoked_admin_key_does_nothing_more_from_the_next_call_on() {
    let stack = Stack::calm().await;
    let key = stack.key(&["admin"], None).await;
    let api = Stack::api(&stack.local.urls.endpoints, &key);
    assert_eq!(status_of(stack, &key).await, 200);
    assert_eq!(api.delete(&format!("/v1/keys/{}", id_of(&key))).await.unwrap().0, 204);
    let new = json!({"name": "after the end", "scopes": ["admin"]});
    assert_eq!(api.post("/v1/keys", &new).await.unwrap().0, 401);
    assert_eq!(status_of(stack, &key).await, 401);
}

#[scenario]
async fn a_key_shows_its_maker_and_expires_no_later() {
    let stack = Stack::calm().await;
    let end = pombo_aws::clock::now().plus(Duration::from_secs(3600));
    let new = json!({"name": "an hour", "scopes": ["admin"], "expires_at": end});
    let (_, maker) = stack.local.endpoints().post("/v1/keys", &new).await.unwrap();
    let key = maker["key"].as_str().unwrap();
    let (_, made) = made_by(stack, key, &["ops"], None).await;
    assert_eq!((&made["made_by"], &made["expires_at"]), (&maker["id"], &json!(end)));
    assert_eq!(maker["made_by"], id_of(&stack.local.keys.admin));
    let late = json!({"name": "late", "scopes": ["ops"], "expires_at": end.plus(Duration::from_secs(1))});
    let (status, problem) = Stack::api(&stack.local.urls.endpoints, key).post("/v1/keys", &late).await.unwrap();
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("expires_at")), "{problem}");
}

#[scenario]
async fn a_revocation_with_what_was_made_ends_keys_of_any_depth_and_owner() {
    let stack = Stack::calm().await;
    let tenant = unique("t");
    let root = stack.key(&["admin"], None).await;
    let (child, _) = made_by(stack, &root, &["admin"], Some(&tenant)).await;
    let (grandchild, _) = made_by(stack, &child, &["admin"], None).await;
    let (last, _) = made_by(stack, &grandchild, &["admin"], None).await;
    let (apart, _) = made_by(stack, &stack.local.keys.admin, &["admin"], Some(&tenant)).await;
    // One in the middle was revoked before, by itself.
    assert_eq!(stack.local.endpoints().delete(&format!("/v1/keys/{}", id_of(&grandchild))).await.unwrap().0, 204);
    assert_eq!(status_of(stack, &last).await, 200);
    let path = format!("/v1/keys/{}?with_made=true", id_of(&root));
    let (status, answer) = stack.local.endpoints().delete(&path).await.unwrap();
    assert_eq!((status, &answer), (200, &json!({"revoked": [id_of(&root), id_of(&child), id_of(&last)]})));
    for key in [&root, &child, &grandchild, &last] {
        assert_eq!(status_of(stack, key).await, 401, "{}", id_of(key));
    }
    assert_eq!(status_of(stack, &apart).await, 200, "another key made it");
}

#[scenario]
async fn keys_are_found_behind_keys_that_were_removed_after_their_retention() {
    let stack = Stack::calm().await;
    let tenant = unique("t");
    let dynamodb = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let remove = async |key: &str| {
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let request = dynamodb.delete_item().table_name(stack.resource("ApiKeysTable"));
        request.key("partition", text(id_of(key))).key("row", text("key")).send().await.unwrap();
    };
    for removed in [&[1][..], &[0], &[0, 1]] {
        let root = stack.key(&["admin"], None).await;
        let (middle, _) = made_by(stack, &root, &["admin"], None).await;
        let (last, _) = made_by(stack, &middle, &["admin"], Some(&tenant)).await;
        for place in removed {
            remove([&root, &middle][*place]).await;
        }
        assert_eq!(status_of(stack, &last).await, 200);
        let path = format!("/v1/keys/{}?with_made=true", id_of(&root));
        assert_eq!(stack.local.endpoints().delete(&path).await.unwrap().0, 200);
        assert_eq!(status_of(stack, &last).await, 401, "{removed:?} removed");
        // What is done needs no second walk.
        let again = stack.local.endpoints().delete(&path).await.unwrap();
        let expected = if removed.contains(&0) { 404 } else { 200 };
        assert_eq!(again.0, expected, "{again:?}");
    }
}

#[scenario]
async fn keys_that_a_key_makes_while_it_is_revoked_end_with_it() {
    let stack = Stack::calm().await;
    let tenant = unique("t");
    let root = stack.key(&["admin"], Some(&tenant)).await;
    let api = &Stack::api(&stack.local.urls.endpoints, &root);
    let make = async || {
        let (status, made) = api.post("/v1/keys", &json!({"name": "n", "scopes": ["admin"]})).await.unwrap();
        assert!(status == 201 || status == 401, "{made}");
        (status == 201).then(|| made["key"].as_str().unwrap().to_owned())
    };
    let path = format!("/v1/keys/{}?with_made=true", id_of(&root));
    let revocation = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stack.local.endpoints().delete(&path).await.unwrap()
    };
    let making = futures::future::join_all((0..12).map(|_| async {
        let mut made = Vec::new();
        while let Some(key) = make().await {
            made.push(key);
        }
        made
    }));
    let ((status, answer), made) = tokio::join!(revocation, making);
    let made = made.concat();
    assert_eq!((status, answer["revoked"].as_array().unwrap().len()), (200, 1 + made.len()), "{answer}");
    assert!(!made.is_empty(), "some were made before");
    for key in made {
        assert_eq!(status_of(stack, &key).await, 401);
    }
}

#[scenario(slow)]
async fn the_last_admin_key_of_the_stack_is_revoked_only_if_that_is_confirmed() {
    let stack = Stack::own("lastadmin", &[]).await;
    let api = stack.local.endpoints();
    let admin = &stack.local.keys.admin;
    let (second, _) = made_by(stack, admin, &["admin"], None).await;
    made_by(stack, admin, &["admin"], Some("acme")).await;
    // With what it made nothing is left, since it made the other one.
    let with_made = format!("/v1/keys/{}?with_made=true", id_of(admin));
    let (status, problem) = api.delete(&with_made).await.unwrap();
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("?confirm=last_admin"), "{problem}");
    assert_eq!((status_of(stack, admin).await, status_of(stack, &second).await), (200, 200), "nothing is revoked");
    assert_eq!(api.delete(&format!("/v1/keys/{}", id_of(&second))).await.unwrap().0, 204, "one is left");
    let last = format!("/v1/keys/{}", id_of(admin));
    assert_eq!(api.delete(&last).await.unwrap().0, 409);
    assert_eq!(api.delete(&format!("{last}?confirm=last_admin")).await.unwrap().0, 204);
    assert_eq!(status_of(stack, admin).await, 401);
}

#[scenario(slow)]
async fn a_tenant_has_as_many_keys_as_the_stack_allows_also_when_they_are_made_at_once() {
    let stack = Stack::own("fewkeys", &[("MaxKeysPerTenant", "5")]).await;
    let api = &stack.local.endpoints();
    let make = async |_| {
        let new = json!({"name": "n", "scopes": ["ops"], "tenant": "acme"});
        api.post("/v1/keys", &new).await.unwrap()
    };
    let made = futures::future::join_all((0..20).map(make)).await;
    let count = |status| made.iter().filter(|(given, _)| *given == status).count();
    assert_eq!((count(201), count(409)), (5, 15), "{made:?}");
    let (_, key) = made.iter().find(|(status, _)| *status == 201).unwrap();
    let path = format!("/v1/keys/{}", key["id"].as_str().unwrap());
    assert_eq!(api.delete(&path).await.unwrap().0, 204);
    assert_eq!(make(0).await.0, 201, "a revoked key leaves its place");
    let (_, problem) = make(0).await;
    assert!(problem["detail"].as_str().unwrap().contains("MaxKeysPerTenant"), "{problem}");
}

#[scenario(slow)]
async fn a_stack_that_makes_no_first_key_refuses_to() {
    let stack = Stack::own("closed", &[]).await;
    let client = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
    let function = stack.resource("EndpointsFunction");
    let configuration = client.get_function_configuration().function_name(function).send().await.unwrap();
    let mut variables = configuration.environment.unwrap().variables.unwrap();
    assert_eq!(variables.insert("CREATE_ADMIN_KEY".into(), "false".into()).as_deref(), Some("true"));
    let environment = aws_sdk_lambda::types::Environment::builder().set_variables(Some(variables)).build();
    client.update_function_configuration().function_name(function).environment(environment).send().await.unwrap();
    let payload = json!({"create_admin_key": {"name": "x"}}).to_string().into_bytes();
    let answer = client.invoke().function_name(function).payload(payload.into()).send().await.unwrap();
    let text = String::from_utf8(answer.payload.unwrap().into_inner()).unwrap();
    assert!(answer.function_error.is_some() && text.contains("CreateAdminKey"), "{text}");
    assert_eq!(status_of(stack, &stack.local.keys.admin).await, 200, "keys go on working");
}
