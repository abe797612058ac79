// The words of the page in English and Korean; the browser's language decides, and a button changes it.

const WORDS = {
  en: {
    title: "Memory viewer",
    drop: "Drop a memory here, or choose a file. It stays on this computer: nothing is sent anywhere.",
    reading: "Reading and verifying {0}",
    search: "Search",
    find: "Words to find",
    filter: "Filter",
    filterHelp: "key=value, key>3, or JSON such as {\"page\": {\"$gte\": 3}}",
    asOf: "As of",
    now: "the latest commit",
    commit: "commit {0} of {1} · {2} · +{3} −{4}",
    found: "{0} of {1}",
    records: "{0} records",
    none: "No record matches.",
    more: "Show more",
    all: "Show the whole text ({0} characters)",
    frame: "Frame {0}",
    filmHelp: "A record's button shows the frame that holds it.",
    copyJson: "Copy as JSON",
    copyPython: "Copy Python",
    copied: "Copied",
    link: "Link to this record",
    gone: "The record {0} is not in this memory at this commit.",
    about: "About this memory",
    description: "Description", embedder: "Embedder", commits: "Commits", deleted: "Deleted",
    size: "Size", ratio: "Bytes a character", created: "Created", vectors: "Vectors", identity: "Id",
    damaged: "{0} damaged places; {1} records lost. `memvid rescue` saves what can be read.",
    torn: "The file ends in an unfinished write: {0} bytes with {1} records, which do not count.",
    sound: "Every checksum is right.",
    lightDark: "Light or dark",
    language: "한국어",
    keys: "Keys: / search, j and k next and previous record, Enter its frame, c copy, Esc back to the search",
    "no memory": "This file holds no memory that memvid-core wrote.",
    encrypted: "This memory is encrypted, and this page cannot read it. Open it in Python with its key.",
    qr: "This memory keeps its records as QR codes, which this page does not read. Use: memvid view FILE",
    cors: "The address cannot be read from this page: its server must send the header Access-Control-Allow-Origin.",
    ranges: "This server sends whole files only, without ranges. Download the file and drop it here.",
    short: "The server sent less than it has. Try again.",
    large: "The file is larger than 512 MB. Use: memvid view FILE",
    scheme: "The address must begin with https:",
    401: "The link was used already, or the server was started again. Use the address that memvid view printed.",
  },
  ko: {
    title: "기억 뷰어",
    drop: "기억 파일을 여기에 놓거나 선택하세요. 파일은 이 컴퓨터에만 있으며 어디로도 전송되지 않습니다.",
    reading: "{0} 읽고 검사하는 중",
    search: "검색",
    find: "찾을 낱말",
    filter: "필터",
    filterHelp: "키=값, 키>3, 또는 {\"쪽\": {\"$gte\": 3}} 같은 JSON",
    asOf: "시점",
    now: "최신 커밋",
    commit: "커밋 {0}/{1} · {2} · +{3} −{4}",
    found: "{1}개 중 {0}개",
    records: "레코드 {0}개",
    none: "맞는 레코드가 없습니다.",
    more: "더 보기",
    all: "전체 텍스트 보기 ({0}자)",
    frame: "프레임 {0}",
    filmHelp: "레코드의 버튼을 누르면 그 레코드가 든 프레임을 보여 줍니다.",
    copyJson: "JSON 복사",
    copyPython: "Python 복사",
    copied: "복사됨",
    link: "이 레코드의 링크",
    gone: "이 시점의 기억에는 {0} 레코드가 없습니다.",
    about: "이 기억에 대하여",
    description: "설명", embedder: "임베더", commits: "커밋", deleted: "삭제됨",
    size: "크기", ratio: "글자당 바이트", created: "생성", vectors: "벡터", identity: "식별자",
    damaged: "손상된 곳 {0}개, 잃은 레코드 {1}개. `memvid rescue`로 읽을 수 있는 것을 살리세요.",
    torn: "파일 끝의 쓰기가 완료되지 않았습니다: {0}바이트, 레코드 {1}개는 포함되지 않습니다.",
    sound: "모든 검사합이 맞습니다.",
    lightDark: "밝게/어둡게",
    language: "English",
    keys: "단축키: / 검색, j·k 다음·이전 레코드, Enter 프레임, c 복사, Esc 검색창으로",
    "no memory": "memvid-core가 쓴 기억이 아닙니다.",
    encrypted: "암호화된 기억이라 이 페이지에서 읽을 수 없습니다. Python에서 키로 여세요.",
    qr: "QR 코드로 저장된 기억은 이 페이지에서 읽지 않습니다. 사용: memvid view FILE",
    cors: "이 페이지에서 주소를 읽을 수 없습니다. 서버가 Access-Control-Allow-Origin 헤더를 보내야 합니다.",
    ranges: "이 서버는 범위 요청 없이 파일 전체만 보냅니다. 파일을 내려받아 여기에 놓으세요.",
    short: "서버가 가진 것보다 적게 보냈습니다. 다시 시도하세요.",
    large: "파일이 512 MB보다 큽니다. 사용: memvid view FILE",
    scheme: "주소는 https:로 시작해야 합니다.",
    401: "이미 사용한 링크이거나 서버가 다시 시작되었습니다. memvid view가 출력한 주소를 쓰세요.",
  },
};

let language = navigator.language.startsWith("ko") ? "ko" : "en";

export function changeLanguage() {
  language = language === "ko" ? "en" : "ko";
}

export const languageName = () => language;

// Returns a sentence with its values; a key without a sentence is returned as it is.
export function say(key, ...values) {
  const sentence = Object.hasOwn(WORDS[language], key) ? WORDS[language][key] : String(key);
  return sentence.replace(/\{(\d)\}/g, (_, i) => (typeof values[i] === "number" ? values[i].toLocaleString(language) : values[i]));
}
