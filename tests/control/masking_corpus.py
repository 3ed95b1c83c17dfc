"""What each rule must find, and what it must leave alone.

The rules were made with these samples in sight: they show what was thought of, not how often a rule
is right on texts that nobody has seen yet.
"""
# ruff: noqa: E501 - samples stand as they are

from __future__ import annotations

POSITIVE: dict[str, list[str]] = {
    "email": [
        "write to john.doe@example.com please", "john+tag@sub.example.co.uk", "<a@b.io>",
        "mailto:info@firma.de", "name_surname@163.com", "o'hara@example.org", "x@xn--mnchen-3ya.de",
        "müller@example.de", "иван@пример.рф", "邮箱是john@example.cn谢谢", "user@[192.168.2.1]",
        "JOHN＠EXAMPLE.COM", "jo\u00adhn@exam\u200bple.com", "john%40example.com", "a&#64;b.com",
        "https://x.test/?email=john@example.com&x=1", "用户@例子.公司", "e.mail@example。com",
    ],
    "phone": [
        "+49 171 1234567", "+49 (0)30 123456-78", "+14155552671", "+1 (415) 555-2671",
        "call 415-555-2671 now", "(415) 555-2671", "415.555.2671", "1-800-555-0199", "0171/1234567",
        "030 12345678", "(030) 1234567", "089-1234567", "01711234567", "06 12 34 56 78",
        "06.12.34.56.78", "0612345678", "020 7946 0958", "07911 123456", "0049 30 1234567",
        "Tel.: 1234567", "Telefon 4455667", "phone: 612 345 678", "mobile 347 123 4567",
        "+33 6 12 34 56 78", "+442079460958", "Fax: 0228-9876543", "+86 138 0013 8000",
        "ＴＥＬ +４９ 171 1234567", "+41 44 668 18 00",
    ],
    "iban": [
        "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "de89 3704 0044 0532 0130 00.",
        "GB29 NWBK 6016 1331 9268 19", "FR14 2004 1010 0505 0001 3M02 606", "NL91ABNA0417164300",
        "IBAN:CH93 0076 2011 6238 5295 7", "AT61 1904 3002 3457 3201 danke", "BE68-5390-0754-7034",
        "ES91 2100 0418 4502 0005 1332", "NO93 8601 1117 947",
    ],
    "card": [
        "4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "5500 0000 0000 0004",
        "3782 822463 10005", "378282246310005", "6011111111111117", "30569309025904",
        "pay with 4242424242424242 today", "12 4111 1111 1111 1111 12/29", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "４１１１ １１１１ １１１１ １１１１", "4111\u200b1111\u00ad1111\u20601111", "3530111333300000",
        "卡号4111111111111111。", "٤١١١١١١١١١١١١١١١", "4222222222222", "2223003122003222",
    ],
    "ip": [
        "from 192.168.1.20", "10.0.0.1:8080", "[203.0.113.7]", "2001:db8::1", "fe80::1ff:fe23:4567:890a",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334", "::ffff:192.0.2.128 joined", "１０.0.0.1",
    ],
    "secret": [
        "sk-proj-abc123def456ghi789jkl", "AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r", "password=hunter2",
        "Authorization: Bearer abcdef0123456789", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "api_key: 'abc-def-ghi'", "pwd = s3cret!", "Passwort: geheim99!",
        "postgres://app:hunter2@db.example/x", "xoxb-123456789012-abcdefGHIJ", "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
        "glpat-1234567890abcdefghij", "Authorization: Basic dXNlcjpwYXNz", "client_secret=abc", "ＡＫＩＡIOSFODNN7EXAMPLE",
    ],
    "de_idnr": ["Steuer-ID 36574261809", "IdNr. 36 574 261 809"],
    "es_nif": ["54362315K", "DNI 54362315-K", "NIE X5253868R"],
    "fr_nir": ["2 95 10 99 126 111 93", "253072B07300470"],
    "it_cf": ["RCCMNL83S18D969H", "RCCMNL 83S18 D969H"],
    "nl_bsn": ["BSN 111222333", "bsn: 1112.22.333"],
    "us_ssn": ["SSN 536-90-4399", "536-90-4399"],
}  # fmt: skip

NEGATIVE: dict[str, list[str]] = {
    "email": [
        "@handle on the net", "icon@2x.png", "lodash@4.17.21", "react@18.2.0-beta.rc", "a @ b",
        "git@github.com:org/repo.git", "user@localhost", "5 apples @ 2.50 each", "npm i @scope/name",
        "a@b@c", "name@", "@@@@", "x@y.z",
    ],
    "phone": [
        "order 0171123456789", "Bestellnummer 01711234567", "order no. 415-555-2671",
        "invoice 0612345678", "2024-01-02 10:30", "01.02.2024 - 03.02.2024", "01/02/2024 09:30:00",
        "id 491711234567", "4111 1111 1111 1111", "12345678", "1793880000000000", "0.123456789",
        "100,000,000", "EUR 1 234 567.89", "612 345 678 people", "ISBN 978-3-16-148410-0", "3.14159265",
        "+5 points", "+20 000 000", "version 10.20.30.40", "08.00-12.00 13.00-17.00", "00001234567",
        "{\"order_id\": \"01711234567\"}", "tracking 00340434161094042557", "1, 2, 3, 4, 5, 6, 7, 8, 9",
        "0001 0002 0003 0004", "2019 2020 2021", "call id 1234567", "a1b2c3d4-0171-1234-5678-90abcdef0123",
    ],
    "iban": [
        "DE89 3704 0044 0532 0130 01", "AB12 3456 7890 1234", "XX89370400440532013000",
        "DE8937040044053201300", "IN12AB3456CD7890", "order DE12-3456-7890",
    ],
    "card": [
        "4111 1111 1111 1112", "1234567890123456", "1793880000000000000", "order 9111111111111111",
        "0000 0000 0000 0000", "12 45 67 23 89 11 40 52", "978-3-16-148410-0", "41111111111111111111",
        "a4111111111111111b", "550e8400-e29b-41d4-a716-446655440000", "2024-01-02 2024-01-03",
        "36574261809", "1111 2222 3333 4444",
    ],
    "ip": [
        "1.2.3", "version 1.2.3.4", "1.2.3.4.5", "256.1.1.1", "12:30:45", "std::vector", "a[::2]",
        "aa:bb:cc:dd:ee:ff", "§ 10.2.1", "v10.0.0.1", "Foo::Bar::baz", "10:20",
    ],
    "secret": [
        "my password is forgotten", "password: please reset it", "bearer of good news", "max_tokens=500",
        "risk-management-and-compliance", "task-12345678901234567890", "sk-learn-something-else-here",
        "the api key was rotated", "https://example.com:8080/a@b", "secret: nothing", "eyJ", "AKIA",
        "token usage 500", "AKIAIOSFODNN7EXAMPLEX",
    ],
    "de_idnr": ["36574261809", "IdNr. 36574261890", "tax 12345678901"],
    "es_nif": ["54362315A", "12345678", "B58378431"],
    "fr_nir": ["295109912611199", "995109912611193"],
    "it_cf": ["RCCMNL83S18D969I"],
    "nl_bsn": ["111222333", "BSN 111252333"],
    "us_ssn": ["666-00-0000", "1536-90-4399", "536-90-4399-12", "000-12-3456"],
}  # fmt: skip
