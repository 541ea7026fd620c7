package wallet

// Tests open wallets often: their passwords are cheap to try.
var cheap = scrypt{2, 1}

func CreateCheap(path, password string) (*Wallet, error) { return create(path, password, cheap) }

func OpenCheap(path, password string) (*Wallet, error) { return open(path, password, cheap) }
