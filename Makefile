.PHONY: build demo test fast bench clean
build: ; go build -o bin/ ./node/cmd/assentd ./sdk/cmd/assent
demo: ; scripts/demo
test: ; scripts/test
fast: ; scripts/test --fast
bench: ; go run ./scripts/bench
clean: ; rm -rf bin .assent
