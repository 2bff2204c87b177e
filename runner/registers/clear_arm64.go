package registers

func clearAll()
