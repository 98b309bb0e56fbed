// Verifies Remit's evidence with golang.org/x/mod/sumdb and nothing of Remit's.
//
// Standard input is a JSON array of cases, standard output one answer for each. See cases.py for what a case is.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type testCase struct {
	Kind      string
	Log       string
	Witnesses []string
	Files     map[string][]byte
	Folder    string
	Gone      []string
}

type answer struct {
	Accepted bool           `json:"accepted"`
	Why      string         `json:"why"`
	Said     map[string]any `json:"said"`
}

func main() {
	var cases []testCase
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	answers := []answer{}
	for _, one := range cases {
		said, err := check(one)
		if err != nil {
			answers = append(answers, answer{Why: err.Error()})
		} else {
			answers = append(answers, answer{Accepted: true, Said: said})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		panic(err)
	}
}

func check(one testCase) (map[string]any, error) {
	switch one.Kind {
	case "head":
		head, err := openHead(one, one.Files["checkpoint"])
		if err != nil {
			return nil, err
		}
		return map[string]any{"size": head.size, "root": head.root.String(), "cosigned": head.cosigned}, nil
	case "inclusion":
		return checkInclusion(one)
	case "consistency":
		return checkConsistency(one)
	case "tiles":
		return checkTiles(one)
	}
	return nil, fmt.Errorf("no kind %q", one.Kind)
}

// -- heads

type head struct {
	size     int64
	root     tlog.Hash
	cosigned map[string]uint64
}

// openHead wants the log's signature and the cosignature of every witness of the case.
func openHead(one testCase, content []byte) (*head, error) {
	log, err := note.NewVerifier(one.Log)
	if err != nil {
		return nil, err
	}
	known := []note.Verifier{log}
	for _, vkey := range one.Witnesses {
		witness, err := newWitness(vkey)
		if err != nil {
			return nil, err
		}
		known = append(known, witness)
	}
	opened, err := note.Open(content, note.VerifierList(known...))
	if err != nil {
		return nil, err
	}
	signed := map[string]string{}
	for _, signature := range opened.Sigs {
		signed[fmt.Sprint(signature.Name, signature.Hash)] = signature.Base64
	}
	found := &head{cosigned: map[string]uint64{}}
	for _, verifier := range known {
		encoded, ok := signed[fmt.Sprint(verifier.Name(), verifier.KeyHash())]
		if !ok {
			return nil, fmt.Errorf("%s has not signed", verifier.Name())
		}
		if verifier != log {
			raw, _ := base64.StdEncoding.DecodeString(encoded)
			found.cosigned[verifier.Name()] = binary.BigEndian.Uint64(raw[4:12])
		}
	}
	// tlog.ParseTree knows the origin of Go's own database only.
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != log.Name() {
		return nil, errors.New("not a checkpoint of this log")
	}
	if found.size, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return nil, err
	}
	found.root, err = tlog.ParseHash(lines[2])
	return found, err
}

// witness is a note.Verifier for c2sp.org/tlog-cosignature, which x/mod does not bring.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a verifier key")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) != 33 || raw[0] != 4 {
		return nil, errors.New("not the Ed25519 key of a witness")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), raw...))
	return &witness{parts[0], binary.BigEndian.Uint32(sum[:4]), raw[1:]}, nil
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }

func (w *witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

// -- proofs

// split takes a file of proof lines, a blank line and a checkpoint apart.
func split(content []byte) ([]string, []byte, error) {
	lines, checkpoint, ok := bytes.Cut(content, []byte("\n\n"))
	if !ok {
		return nil, nil, errors.New("no checkpoint below the proof")
	}
	return strings.Split(string(lines), "\n"), checkpoint, nil
}

func hashes(lines []string) ([]tlog.Hash, error) {
	found := []tlog.Hash{}
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		found = append(found, hash)
	}
	return found, nil
}

func number(line, word string) (int64, error) {
	if !strings.HasPrefix(line, word+" ") {
		return 0, fmt.Errorf("expected a line %q", word)
	}
	return strconv.ParseInt(line[len(word)+1:], 10, 64)
}

func checkInclusion(one testCase) (map[string]any, error) {
	lines, checkpoint, err := split(one.Files["proof"])
	if err != nil {
		return nil, err
	}
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, errors.New("not a tlog-proof")
	}
	index, err := number(lines[1], "index")
	if err != nil {
		return nil, err
	}
	path, err := hashes(lines[2:])
	if err != nil {
		return nil, err
	}
	head, err := openHead(one, checkpoint)
	if err != nil {
		return nil, err
	}
	record := tlog.RecordHash(one.Files["record"])
	if err := tlog.CheckRecord(path, head.size, head.root, index, record); err != nil {
		return nil, err
	}
	return map[string]any{"index": index, "size": head.size}, nil
}

func checkConsistency(one testCase) (map[string]any, error) {
	lines, checkpoint, err := split(one.Files["proof"])
	if err != nil {
		return nil, err
	}
	old, err := number(lines[0], "old")
	if err != nil {
		return nil, err
	}
	path, err := hashes(lines[1:])
	if err != nil {
		return nil, err
	}
	kept, err := openHead(testCase{Log: one.Log}, one.Files["kept"])
	if err != nil {
		return nil, err
	}
	head, err := openHead(one, checkpoint)
	if err != nil {
		return nil, err
	}
	if old != kept.size {
		return nil, errors.New("the proof starts from another size")
	}
	if err := tlog.CheckTree(path, head.size, head.root, kept.size, kept.root); err != nil {
		return nil, err
	}
	return map[string]any{"from": kept.size, "to": head.size}, nil
}

// -- tiles

// tiles reads c2sp.org/tlog-tiles below a folder; files of the case stand before those of the folder.
type tiles struct{ testCase }

func (t *tiles) Height() int { return 8 }

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := [][]byte{}
	for _, tile := range wanted {
		// Go's own paths name the height of a tile, C2SP's do not.
		content, err := t.read("tile/" + strings.TrimPrefix(tile.Path(), "tile/8/"))
		if err != nil {
			return nil, err
		}
		if len(content) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has another length", tile.Path())
		}
		found = append(found, content)
	}
	return found, nil
}

func (t *tiles) read(path string) ([]byte, error) {
	for _, gone := range t.Gone {
		if path == gone {
			return nil, fmt.Errorf("%s is missing", path)
		}
	}
	if content, ok := t.Files[path]; ok {
		return content, nil
	}
	return os.ReadFile(filepath.Join(t.Folder, filepath.FromSlash(path)))
}

func checkTiles(one testCase) (map[string]any, error) {
	from := &tiles{one}
	checkpoint, err := from.read("checkpoint")
	if err != nil {
		return nil, err
	}
	head, err := openHead(one, checkpoint)
	if err != nil {
		return nil, err
	}
	reader := tlog.TileHashReader(tlog.Tree{N: head.size, Hash: head.root}, from)
	indexes := []int64{}
	for n := int64(0); n < head.size; n++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, n))
	}
	leaves, err := reader.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	records, err := from.records(head.size)
	if err != nil {
		return nil, err
	}
	for n, record := range records {
		if tlog.RecordHash(record) != leaves[n] {
			return nil, fmt.Errorf("record %d is not the leaf that the tiles hold", n)
		}
	}
	return map[string]any{"size": head.size, "records": len(records)}, nil
}

// records reads the bundles of entries: each entry behind its length in two bytes.
func (t *tiles) records(size int64) ([][]byte, error) {
	found := [][]byte{}
	for number := int64(0); number*256 < size; number++ {
		tile := tlog.Tile{H: 8, L: 0, N: number, W: 256}
		if left := size - number*256; left < 256 {
			tile.W = int(left)
		}
		raw, err := t.read("tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/"))
		if err != nil {
			return nil, err
		}
		count := 0
		for ; len(raw) >= 2; count++ {
			length := int(binary.BigEndian.Uint16(raw))
			if len(raw) < 2+length {
				return nil, errors.New("an entry is cut off")
			}
			found = append(found, raw[2:2+length])
			raw = raw[2+length:]
		}
		if len(raw) != 0 || count != tile.W {
			return nil, fmt.Errorf("a bundle holds %d entries, expected %d", count, tile.W)
		}
	}
	return found, nil
}
